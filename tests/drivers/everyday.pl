#!/usr/bin/perl
# An application's everyday work with DBD::mysql. Prints a transcript that is the same against every correct server.
# Usage: everyday.pl HOST PORT [tls] [later]
use strict;
use warnings;
use utf8;
use DBI qw(:sql_types);
use File::Temp;

binmode STDOUT, ':encoding(UTF-8)';
$| = 1;
my ($host, $port, @wishes) = @ARGV;
my %wish = map { $_ => 1 } @wishes;

sub text {
    my ($value) = @_;
    return 'NULL' unless defined $value;
    return '[' . join(', ', map { text($_) } @$value) . ']' if ref $value eq 'ARRAY';
    return length($value) . ' of ' . substr($value, 0, 8) if length($value) > 1000;
    $value =~ s/([\x00-\x1f\x7f-\x9f\\])/sprintf '\\x%02x', ord $1/ge;
    return "'$value'";
}

sub show { my ($title, @values) = @_; print "$title: ", join(', ', map { text($_) } @values), "\n" }

sub dial {
    my ($options, %attributes) = @_;
    $options .= ';mysql_compression=1' if $wish{compressed};
    return DBI->connect("DBI:mysql:database=app;host=$host;port=$port;mysql_client_found_rows=0$options", 'app', 'app',
        { RaiseError => 1, PrintError => 0, AutoCommit => 1, mysql_enable_utf8mb4 => 1, %attributes });
}

sub fails {
    my ($title, $dbh, $action) = @_;
    eval { $action->($dbh); 1 } and return show($title, 'no error');
    show($title, $dbh->err, $dbh->state, $dbh->errstr);
}

sub logins {
    my $dbh = DBI->connect("DBI:mysql:host=$host;port=$port", 'app', 'wrong', { RaiseError => 0, PrintError => 0 });
    show('wrong password', defined $dbh, $DBI::err, $DBI::state);
    $dbh = DBI->connect("DBI:mysql:database=missing;host=$host;port=$port", 'app', 'app', { RaiseError => 0, PrintError => 0 });
    show('no such schema', defined $dbh, $DBI::err, $DBI::state, $DBI::errstr);
    return unless $wish{tls};
    $dbh = dial(';mysql_ssl=1;mysql_ssl_optional=1');
    show('over TLS', $dbh->selectrow_array("SELECT REPEAT('secret ', 3)"));
    $dbh->disconnect;
}

sub types {
    my ($way, $dbh) = @_;
    $dbh->do('DROP TABLE IF EXISTS perl_types');
    $dbh->do("CREATE TABLE perl_types (id INT AUTO_INCREMENT PRIMARY KEY, i BIGINT, u BIGINT UNSIGNED, d DECIMAL(40, 12), f DOUBLE,
        t VARCHAR(200), b BLOB, day DATE, at DATETIME(6), took TIME(3), y YEAR, e ENUM('a', 'b'), s SET('x', 'y'), bits BIT(9))");
    my $insert = $dbh->prepare('INSERT INTO perl_types (i, u, d, f, t, b, day, at, took, y, e, s, bits) VALUES (' . join(', ', ('?') x 13) . ')');
    my @rows = (
        ['-9223372036854775808', '18446744073709551615', '1234567890123456789012345678.012345678912', 0.5, "żółć 🦀 ' \" \\ \n",
            join('', map { chr } 0 .. 255), '2024-02-29', '1999-12-31 23:59:59.999999', '-25:00:00.125', 2155, 'b', 'x,y', 5],
        [(undef) x 13],
        [0, 0, 0, -0.25, '', '', '1000-01-01', '2038-01-20', '00:00:00', 1901, 'a', '', 0],
    );
    for my $row (@rows) {
        for my $index (0 .. $#$row) {
            $index == 5 ? $insert->bind_param($index + 1, $row->[$index], SQL_BLOB) : $insert->bind_param($index + 1, $row->[$index]);
        }
        show("$way: inserted", $insert->execute, $insert->{mysql_insertid}, $dbh->last_insert_id(undef, undef, undef, undef));
    }
    my $select = $dbh->prepare('SELECT *, HEX(b) AS hex, i + 0.5 AS sum FROM perl_types WHERE id < ? ORDER BY id');
    $select->execute(100);
    for my $what (qw(NAME TYPE PRECISION SCALE NULLABLE mysql_type mysql_type_name mysql_table mysql_length mysql_is_key mysql_is_pri_key mysql_is_num mysql_is_auto_increment mysql_is_blob)) {
        show("$way: $what", $select->{$what});
    }
    while (my $row = $select->fetchrow_arrayref) { show("$way: row", @$row) }
    show("$way: by name", map { $_->{t} } @{ $dbh->selectall_arrayref('SELECT t FROM perl_types ORDER BY id', { Slice => {} }) });
    my $many = $dbh->prepare('INSERT INTO perl_types (i, t) VALUES (?, ?)');
    $many->bind_param_array(1, [1 .. 5]);
    $many->bind_param_array(2, [map { "row $_" } 1 .. 5]);
    my @status;
    show("$way: inserted many", scalar $many->execute_array({ ArrayTupleStatus => \@status }), \@status);
}

sub large {
    my ($way, $dbh) = @_;
    $dbh->do('DROP TABLE IF EXISTS perl_large');
    $dbh->do('CREATE TABLE perl_large (id INT PRIMARY KEY, b LONGBLOB)');
    $dbh->{mysql_enable_utf8mb4} = 0;
    my $insert = $dbh->prepare('INSERT INTO perl_large VALUES (?, ?)');
    for my $size (1 << 16, 1 << 20) {
        my $value = substr("0123456789abcdef\xff" x ($size / 16), 0, $size);
        $insert->bind_param(1, $size);
        $insert->bind_param(2, $value, SQL_BLOB);
        $insert->execute;
        my ($read, $sum) = $dbh->selectrow_array("SELECT b, SHA2(b, 256) FROM perl_large WHERE id = $size");
        show("$way: large", length $read, $read eq $value, $sum);
    }
    $dbh->{mysql_enable_utf8mb4} = 1;
}

sub transactions {
    my ($dbh) = @_;
    $dbh->do('DROP TABLE IF EXISTS perl_money');
    $dbh->do('CREATE TABLE perl_money (id INT PRIMARY KEY, balance INT NOT NULL)');
    my $rows = sub { $dbh->selectall_arrayref('SELECT * FROM perl_money ORDER BY id') };
    $dbh->begin_work;
    show('inserted', $dbh->do('INSERT INTO perl_money VALUES (1, 100), (2, 100)'), $dbh->{mysql_info});
    $dbh->commit;
    $dbh->{AutoCommit} = 0;
    show('updated', $dbh->do('UPDATE perl_money SET balance = 0'), $dbh->{mysql_info});
    show('inside', $rows->());
    $dbh->rollback;
    show('after rollback', $rows->());
    $dbh->do('SAVEPOINT one');
    show('deleted', $dbh->do('DELETE FROM perl_money WHERE id = ?', undef, 1));
    $dbh->do('ROLLBACK TO one');
    show('changed nothing', $dbh->do('UPDATE perl_money SET balance = 100'));
    $dbh->commit;
    $dbh->{AutoCommit} = 1;
    show('after savepoint', $rows->());
    my $found = dial(';mysql_client_found_rows=1');
    show('found rows', $found->do('UPDATE perl_money SET balance = 100'), $found->{mysql_info});
    $found->disconnect;
    show('on duplicate', $dbh->do('INSERT INTO perl_money VALUES (1, 5), (3, 7) ON DUPLICATE KEY UPDATE balance = 5'), $dbh->{mysql_info});
}

sub errors {
    my ($way, $dbh) = @_;
    fails("$way: duplicate", $dbh, sub { shift->do('INSERT INTO perl_money VALUES (?, ?)', undef, 1, 5) });
    fails("$way: no table", $dbh, sub { shift->selectall_arrayref('SELECT * FROM perl_missing WHERE id = ?', undef, 1) });
    fails("$way: syntax", $dbh, sub { shift->do('SELEC 1') });
    fails("$way: null", $dbh, sub { shift->do('INSERT INTO perl_money VALUES (?, ?)', undef, 7, undef) });
    fails("$way: too big", $dbh, sub { shift->do('INSERT INTO perl_money VALUES (7, 99999999999)') });
    fails("$way: signal", $dbh, sub { shift->do("SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'my own', MYSQL_ERRNO = 5000") });
    my $sth = $dbh->prepare('INSERT IGNORE INTO perl_money VALUES (?, ?)');
    show("$way: ignored", $sth->execute(1, 5), $sth->{mysql_warning_count});
    show("$way: warnings", $dbh->selectall_arrayref('SHOW WARNINGS'));
}

sub several_results {
    my ($dbh) = @_;
    my $sth = $dbh->prepare("SELECT 1; UPDATE perl_money SET balance = balance + 1; SELECT 'three', 3; SELEC 4", { mysql_server_prepare => 0 });
    $sth->execute;
    do {
        show('one of several', $sth->{NUM_OF_FIELDS} ? @{ $sth->fetchall_arrayref } : $sth->rows);
    } while (eval { $sth->more_results });
    show('at its end', $sth->err, $sth->state);
    $dbh->do('DROP PROCEDURE IF EXISTS perl_two');
    $dbh->do('CREATE PROCEDURE perl_two(a INT) BEGIN SELECT a; SELECT a + 1, a + 2; END');
    $sth = $dbh->prepare('CALL perl_two(5)', { mysql_server_prepare => 0 });
    $sth->execute;
    do { show('called', $sth->{NUM_OF_FIELDS} ? @{ $sth->fetchall_arrayref } : $sth->rows) } while ($sth->more_results);
    $dbh->do('CALL perl_two(6)');
    show('still in step', $dbh->selectrow_array('SELECT 7'));
}

# The driver does not stream prepared statements.
sub streamed {
    my ($dbh) = @_;
    $dbh->do('DROP TABLE IF EXISTS perl_many');
    $dbh->do('CREATE TABLE perl_many (id INT PRIMARY KEY, t VARCHAR(100))');
    $dbh->do('INSERT INTO perl_many VALUES ' . join ', ', map { sprintf "(%d, '%050d')", $_, $_ } 1 .. 10000);
    my $sth = $dbh->prepare('SELECT * FROM perl_many WHERE id > ? ORDER BY id', { mysql_use_result => 1 });
    $sth->execute(10);
    my ($count, $total) = (0, 0);
    while (my ($id, $t) = $sth->fetchrow_array) { $count++; $total += $id + length $t }
    show("streamed", $count, $total);
    $sth->execute(10);
    show("begun", $sth->fetchrow_array);
    $sth->finish;
    show("in step", $dbh->selectrow_array('SELECT COUNT(*) FROM perl_many'));
}

sub connections {
    my ($dbh) = @_;
    show('ping', $dbh->ping);
    show('tables', map { [@{$_}[2, 3]] } @{ $dbh->table_info('', 'app', 'perl_m%', 'TABLE')->fetchall_arrayref });
    show('columns', map { [@$_[3, 4, 5, 6, 10]] } @{ $dbh->column_info(undef, 'app', 'perl_money', '%')->fetchall_arrayref });
    show('keys', $dbh->primary_key(undef, 'app', 'perl_money'));
    show('quoted', $dbh->quote("it's \\ \n"), $dbh->quote_identifier('a`b'));
    my @pool = map { dial('') } 1 .. 4;
    $_->do('SET @mine = ?', undef, "connection $_->{Name}") for @pool;
    $pool[$_ % 4]->do('INSERT INTO perl_many VALUES (?, ?)', undef, 100000 + $_, "pooled $_") for 1 .. 20;
    show('pooled', map { $_->selectrow_array("SELECT COUNT(*), \@mine IS NULL FROM perl_many WHERE t LIKE 'pooled%'") } @pool);
    $_->disconnect for @pool;
    show('ping of a closed one', $pool[0]->ping ? 1 : 0);
    my $own = dial('');
    my $victim = $own->selectrow_array('SELECT CONNECTION_ID()');
    $dbh->do("KILL $victim");
    # Whether it is told "gone away" or "lost" depends on when the end reaches it.
    show('after KILL', eval { $own->selectrow_array('SELECT 1') } ? 'alive' : 'ended');
    my $again = dial('', mysql_auto_reconnect => 1);
    $again->do('SET @lost = 1');
    $dbh->do('KILL ' . $again->selectrow_array('SELECT CONNECTION_ID()'));
    eval { $again->do('DO 1') };
    show('reconnected', $again->selectrow_array('SELECT @lost IS NULL, DATABASE()'));
}

sub later {
    my ($dbh) = @_;
    show('statistics', $dbh->{mysql_stat} =~ /^(Uptime): \d+  (Threads): \d+  (Questions): \d+/);
    my $file = File::Temp->new;
    print $file "1\tone\n2\ttwo\n";
    close $file;
    my $local = dial(';mysql_local_infile=1');
    $local->do('DELETE FROM perl_many');
    fails('load data', $local, sub { show('loaded', $_[0]->do("LOAD DATA LOCAL INFILE '$file' INTO TABLE perl_many"), $_[0]->{mysql_info}) });
    show('loaded rows', $local->selectall_arrayref('SELECT * FROM perl_many ORDER BY id'));
}

logins();
my $plain = dial(';mysql_multi_statements=1');
my $prepared = dial(';mysql_server_prepare=1');
show('compression', $plain->selectrow_array("SHOW STATUS LIKE 'Compression'"));
transactions($plain);
for (['text', $plain], ['prepared', $prepared]) {
    types(@$_);
    large(@$_);
    errors(@$_);
}
streamed($plain);
several_results($plain);
connections($plain);
later($plain) if $wish{later};
print "done\n";
