// An application's everyday work with Go's database/sql and go-sql-driver. Prints a transcript that is the same against every correct
// server. Usage: everyday HOST PORT [tls] [later]
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
)

var (
	background = context.Background()
	wishes     = map[string]bool{}
)

func show(title string, values ...any) {
	texts := make([]string, len(values))
	for index, value := range values {
		texts[index] = text(value)
	}
	fmt.Printf("%s: %s\n", title, strings.Join(texts, ", "))
}

func text(value any) string {
	switch value := value.(type) {
	case []any:
		texts := make([]string, len(value))
		for index, item := range value {
			texts[index] = text(item)
		}
		return "[" + strings.Join(texts, ", ") + "]"
	case []byte:
		if len(value) > 1000 {
			return fmt.Sprintf("%d bytes", len(value))
		}
		return fmt.Sprintf("%q", value)
	case time.Time:
		return value.Format(time.RFC3339Nano)
	case string:
		return fmt.Sprintf("%q", value)
	case error:
		var server *mysql.MySQLError
		if errors.As(value, &server) {
			return fmt.Sprintf("error %d %q", server.Number, server.Message)
		}
		return fmt.Sprintf("error %q", value.Error())
	}
	return fmt.Sprint(value)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func dial(options string) *sql.DB {
	db, err := sql.Open("mysql", fmt.Sprintf("app:app@tcp(%s:%s)/app?maxAllowedPacket=67108864&charset=utf8mb4&%s", os.Args[1], os.Args[2], options))
	must(err)
	return db
}

// rows gives every row of every result that a query has.
func rows(query interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
}, statement string, values ...any) (all []any, err error) {
	result, err := query.QueryContext(background, statement, values...)
	if err != nil {
		return nil, err
	}
	defer result.Close()
	for {
		found := collect(result)
		all = append(all, found)
		if !result.NextResultSet() {
			return all, result.Err()
		}
	}
}

func collect(result *sql.Rows) (found []any) {
	columns, err := result.Columns()
	must(err)
	for result.Next() {
		row, targets := make([]any, len(columns)), make([]any, len(columns))
		for index := range row {
			targets[index] = &row[index]
		}
		must(result.Scan(targets...))
		found = append(found, row)
	}
	return found
}

func query(title string, db *sql.DB, statement string, values ...any) {
	found, err := rows(db, statement, values...)
	if err != nil {
		show(title, found, err)
	} else {
		show(title, found...)
	}
}

func exec(title string, db interface {
	Exec(string, ...any) (sql.Result, error)
}, statement string, values ...any) {
	result, err := db.Exec(statement, values...)
	if err != nil {
		show(title, err)
		return
	}
	affected, _ := result.RowsAffected()
	id, _ := result.LastInsertId()
	show(title, affected, id)
}

func run(db *sql.DB, statement string) {
	_, err := db.Exec(statement)
	must(err)
}

func logins() {
	wrong, err := sql.Open("mysql", fmt.Sprintf("app:wrong@tcp(%s:%s)/app", os.Args[1], os.Args[2]))
	must(err)
	var server *mysql.MySQLError
	if errors.As(wrong.Ping(), &server) {
		show("wrong password", server.Number)
	}
	missing, err := sql.Open("mysql", fmt.Sprintf("app:app@tcp(%s:%s)/missing", os.Args[1], os.Args[2]))
	must(err)
	show("no such schema", missing.Ping())
	query("settings", dial("time_zone=%27%2B01%3A00%27&sql_mode=ANSI_QUOTES"), `SELECT @@time_zone, @@sql_mode AS "mode"`)
	if wishes["tls"] {
		query("over TLS", dial("tls=skip-verify"), "SELECT REPEAT('secret ', 3)")
	}
}

func types(way string, db *sql.DB) {
	run(db, "DROP TABLE IF EXISTS go_types")
	run(db, `CREATE TABLE go_types (id INT AUTO_INCREMENT PRIMARY KEY, i BIGINT, u BIGINT UNSIGNED, d DECIMAL(40, 12), f DOUBLE, r FLOAT,
		t VARCHAR(200) NOT NULL DEFAULT 'none', b BLOB, day DATE, at DATETIME(6), took TIME(3), y YEAR, e ENUM('a', 'b'), bits BIT(9))`)
	insert := "INSERT INTO go_types (i, u, d, f, r, t, b, day, at, took, y, e, bits) VALUES (" + strings.Repeat("?, ", 12) + "?)"
	all := make([]byte, 256)
	for index := range all {
		all[index] = byte(index)
	}
	exec(way+": inserted", db, insert, int64(-1<<63), uint64(1<<64-1), "-1234567890123456789012345678.012345678912", 0.1, float32(1.5), "żółć 🦀 ' \" \\ \n", all,
		time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC), time.Date(1999, 12, 31, 23, 59, 59, 999999000, time.UTC), "-25:00:00.125", 2155, "b", []byte{0, 5})
	exec(way+": nothing", db, insert, nil, nil, nil, sql.NullFloat64{}, nil, "", nil, sql.NullTime{}, nil, nil, nil, nil, nil)
	exec(way+": zeros", db, insert, 0, 0, 0, -0.25, 0, "", []byte{}, "1000-01-01", "2038-01-20", "00:00:00", 1901, "a", 0)
	result, err := db.Query("SELECT *, HEX(b) AS hex, i / 3 AS third, ? AS mine FROM go_types ORDER BY id", "text")
	must(err)
	columns, err := result.ColumnTypes()
	must(err)
	for _, column := range columns {
		nullable, _ := column.Nullable()
		precision, scale, _ := column.DecimalSize()
		show(way+": column", column.Name(), column.DatabaseTypeName(), nullable, precision, scale, column.ScanType().String())
	}
	for _, row := range collect(result) {
		show(way+": row", row)
	}
}

func large(way string, db *sql.DB) {
	run(db, "DROP TABLE IF EXISTS go_large")
	run(db, "CREATE TABLE go_large (id INT PRIMARY KEY, b LONGBLOB)")
	sizes := []int{1 << 20}
	if way == "text" {
		// One value needs more than one packet.
		sizes = append(sizes, 17<<20)
	}
	for _, size := range sizes {
		value := bytes.Repeat([]byte("0123456789abcde\xff"), size/16)
		exec(way+": large", db, "INSERT INTO go_large VALUES (?, ?)", size, value)
		var read []byte
		var digest string
		must(db.QueryRow("SELECT b, SHA2(b, 256) FROM go_large WHERE id = ?", size).Scan(&read, &digest))
		show(way+": read", read, bytes.Equal(read, value), digest == fmt.Sprintf("%x", sha256.Sum256(value)))
	}
}

func transactions(way string, db *sql.DB) {
	run(db, "DROP TABLE IF EXISTS go_money")
	run(db, "CREATE TABLE go_money (id INT PRIMARY KEY, balance INT NOT NULL)")
	tx, err := db.BeginTx(background, &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
	must(err)
	exec(way+": inserted", tx, "INSERT INTO go_money VALUES (?, ?), (?, ?)", 1, 100, 2, 100)
	must(tx.Commit())
	tx, err = db.Begin()
	must(err)
	exec(way+": updated", tx, "UPDATE go_money SET balance = ?", 0)
	inside, err := rows(tx, "SELECT * FROM go_money ORDER BY id")
	must(err)
	show(way+": inside", inside...)
	must(tx.Rollback())
	query(way+": after rollback", db, "SELECT * FROM go_money ORDER BY id")
	tx, err = db.Begin()
	must(err)
	exec(way+": savepoint", tx, "SAVEPOINT one")
	exec(way+": deleted", tx, "DELETE FROM go_money WHERE id = ?", 1)
	exec(way+": rollback to", tx, "ROLLBACK TO one")
	exec(way+": changed nothing", tx, "UPDATE go_money SET balance = 100")
	must(tx.Commit())
	show(way+": committed twice", tx.Commit())
	tx, err = db.BeginTx(background, &sql.TxOptions{ReadOnly: true})
	must(err)
	exec(way+": write in a read only one", tx, "DELETE FROM go_money")
	must(tx.Rollback())
	query(way+": at the end", db, "SELECT * FROM go_money ORDER BY id")
	exec(way+": found rows", dial("clientFoundRows=true"), "UPDATE go_money SET balance = 100")
	exec(way+": on duplicate", db, "INSERT INTO go_money VALUES (1, ?), (3, 7) ON DUPLICATE KEY UPDATE balance = 5", 5)
}

func problems(way string, db *sql.DB) {
	exec(way+": duplicate", db, "INSERT INTO go_money VALUES (?, 5)", 1)
	query(way+": no table", db, "SELECT * FROM go_missing WHERE id = ?", 1)
	exec(way+": syntax", db, "SELEC ?", 1)
	exec(way+": null", db, "INSERT INTO go_money VALUES (7, ?)", nil)
	exec(way+": too big", db, "INSERT INTO go_money VALUES (7, ?)", 99999999999)
	exec(way+": count of values", db, "INSERT INTO go_money VALUES (?, ?)", 1)
	conn, err := db.Conn(background)
	must(err)
	defer conn.Close()
	_, err = conn.ExecContext(background, "INSERT IGNORE INTO go_money VALUES (1, 5), (2, 5)")
	must(err)
	warnings, err := rows(conn, "SHOW WARNINGS")
	must(err)
	show(way+": warnings", warnings...)
}

func severalResults() {
	db := dial("multiStatements=true")
	query("one of several", db, "SELECT 1; UPDATE go_money SET balance = balance + 1; SELECT 'three', 3")
	exec("several", db, "UPDATE go_money SET balance = 1; UPDATE go_money SET balance = 2 WHERE id = 1; DELETE FROM go_money WHERE id = 3")
	run(db, "DROP PROCEDURE IF EXISTS go_two")
	run(db, "CREATE PROCEDURE go_two(a INT) BEGIN SELECT a; SELECT a + 1, a + 2; END")
	query("called", db, "CALL go_two(5)")
	query("called prepared", db, "CALL go_two(?)", 5)
	query("one at a time", dial(""), "SELECT 1; SELECT 2")
}

func streamed(way string, db *sql.DB) {
	run(db, "DROP TABLE IF EXISTS go_many")
	run(db, "CREATE TABLE go_many (id INT PRIMARY KEY, t VARCHAR(100))")
	insert, err := db.Prepare("INSERT INTO go_many VALUES (?, ?)" + strings.Repeat(", (?, ?)", 999))
	must(err)
	for start := 0; start < 10000; start += 1000 {
		values := make([]any, 0, 2000)
		for id := start; id < start+1000; id++ {
			values = append(values, id, fmt.Sprintf("%050d", id))
		}
		_, err = insert.Exec(values...)
		must(err)
	}
	result, err := db.Query("SELECT * FROM go_many WHERE id >= ? ORDER BY id", 10)
	must(err)
	count, total := 0, 0
	for result.Next() {
		var id int
		var t string
		must(result.Scan(&id, &t))
		count, total = count+1, total+id+len(t)
	}
	show(way+": streamed", count, total)
	result, err = db.Query("SELECT id FROM go_many WHERE id >= ? ORDER BY id", 10)
	must(err)
	show(way+": begun", result.Next())
	must(result.Close())
	query(way+": in step", db, "SELECT COUNT(*) FROM go_many")
}

func connections(db *sql.DB) {
	must(db.Ping())
	pool := dial("")
	pool.SetMaxOpenConns(4)
	var workers sync.WaitGroup
	for worker := 0; worker < 8; worker++ {
		workers.Add(1)
		go func(worker int) {
			defer workers.Done()
			for round := 0; round < 5; round++ {
				_, err := pool.Exec("INSERT INTO go_many VALUES (?, 'pooled')", 20000+worker*10+round)
				must(err)
			}
		}(worker)
	}
	workers.Wait()
	query("pooled", pool, "SELECT COUNT(*) FROM go_many WHERE t = 'pooled'")
	must(pool.Close())
	show("after close", pool.Ping())
	// The driver ends a statement whose time is over by closing the connection; the pool dials another.
	short, cancel := context.WithTimeout(background, 50*time.Millisecond)
	defer cancel()
	_, err := db.ExecContext(short, "DO SLEEP(1)")
	show("too slow", err)
	query("after it", db, "SELECT 1")
	victim := dial("")
	victim.SetMaxOpenConns(1)
	var id int
	must(victim.QueryRow("SELECT CONNECTION_ID()").Scan(&id))
	exec("kill", db, fmt.Sprintf("KILL %d", id))
	time.Sleep(100 * time.Millisecond)
	query("dialed again", victim, "SELECT 1")
}

func later(db *sql.DB) {
	mysql.RegisterReaderHandler("rows", func() io.Reader {
		return strings.NewReader("30001\tone\n30002\ttwo\n")
	})
	exec("load data", db, "LOAD DATA LOCAL INFILE 'Reader::rows' INTO TABLE go_many")
	query("loaded", db, "SELECT * FROM go_many WHERE id > 30000 ORDER BY id")
}

func main() {
	for _, wish := range os.Args[3:] {
		wishes[wish] = true
	}
	logins()
	prepared := dial("parseTime=true")
	for _, choice := range []struct {
		way string
		db  *sql.DB
	}{{"prepared", prepared}, {"text", dial("interpolateParams=true")}} {
		types(choice.way, choice.db)
		large(choice.way, choice.db)
		transactions(choice.way, choice.db)
		problems(choice.way, choice.db)
		streamed(choice.way, choice.db)
	}
	severalResults()
	connections(prepared)
	if wishes["later"] {
		later(prepared)
	}
	fmt.Println("done")
}
