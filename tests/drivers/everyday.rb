# An application's everyday work with Ruby's mysql2. Prints a transcript that is the same against every correct server.
# Usage: everyday.rb HOST PORT [tls] [later]

require 'bigdecimal'
require 'digest'
require 'mysql2'
require 'tempfile'

HOST, PORT, *WISHES = ARGV
ROWS = [
  [-2**63, 2**64 - 1, BigDecimal('-1234567890123456789012345678.012345678912'), 0.1, "żółć 🦀 ' \" \\ \n", (0..255).to_a.pack('C*'),
   Date.new(2024, 2, 29), Time.utc(1999, 12, 31, 23, 59, 59, 999_999), '12:34:56.125', 2155, 'b', 5],
  [nil] * 12,
  [0, 0, BigDecimal('0'), -0.25, '', ''.b, Date.new(1000, 1, 1), Time.utc(2038, 1, 20), '00:00:00', 1901, 'a', 0]
].freeze

def show(title, *values)
  puts "#{title}: #{values.map { |value| text(value) }.join(', ')}"
end

def text(value)
  case value
  when Array then "[#{value.map { |item| text(item) }.join(', ')}]"
  when BigDecimal then value.to_s('F')
  when Time then value.strftime('%F %T.%6N')
  when String then value.bytesize > 1000 ? "#{value.bytesize} bytes" : value.inspect
  else value.inspect
  end
end

def dial(**options)
  Mysql2::Client.new(host: HOST, port: PORT.to_i, username: 'app', password: 'app', database: 'app', encoding: 'utf8mb4',
                     database_timezone: :utc, application_timezone: :utc, as: :array, **options)
end

def fails(title)
  show(title, 'no error', yield)
rescue Mysql2::Error => error
  show(title, error.class, error.error_number, error.sql_state, error.message)
end

def logins
  begin
    dial(password: 'wrong')
  rescue Mysql2::Error => error
    show('wrong password', error.class, error.error_number, error.sql_state)
  end
  fails('no such schema') { dial(database: 'missing') }
  show('init command', dial(init_command: 'SET @begun = 5').query('SELECT @begun').to_a)
  return unless WISHES.include?('tls')

  client = dial(ssl_mode: :required, sslverify: false)
  show('over TLS', client.query("SELECT REPEAT('secret ', 3)").to_a, !client.ssl_cipher.nil?)
end

def types(client)
  client.query('DROP TABLE IF EXISTS rb_types')
  client.query("CREATE TABLE rb_types (id INT AUTO_INCREMENT PRIMARY KEY, i BIGINT, u BIGINT UNSIGNED, d DECIMAL(40, 12), f DOUBLE,
    t VARCHAR(200), b BLOB, day DATE, at DATETIME(6), took TIME(3), y YEAR, e ENUM('a', 'b'), bits BIT(9))")
  columns = '(i, u, d, f, t, b, day, at, took, y, e, bits)'
  insert = client.prepare("INSERT INTO rb_types #{columns} VALUES (#{(['?'] * 12).join(', ')})")
  ROWS.each do |row|
    insert.execute(*row)
    show('prepared', insert.affected_rows, insert.last_id, insert.param_count)
    client.query("INSERT INTO rb_types #{columns} VALUES (#{row.map { |value| quoted(client, value) }.join(', ')})")
    show('text', client.affected_rows, client.last_id)
  end
  all = 'SELECT *, i / 3 AS third FROM rb_types'
  { 'text' => client.query("#{all} ORDER BY id"),
    'prepared' => client.prepare("#{all} WHERE id < ? ORDER BY id").execute(100, cast_booleans: true) }.each do |way, result|
    show("#{way}: columns", result.fields)
    show("#{way}: types", result.field_types) if result.respond_to?(:field_types)
    result.each { |row| show("#{way}: row", *row) }
    show("#{way}: count", result.count)
  end
  show('by name', client.query('SELECT id, t FROM rb_types WHERE id < 3 ORDER BY id', as: :hash, symbolize_keys: true).to_a)
  show('uncast', client.query('SELECT * FROM rb_types WHERE id = 1', cast: false).to_a)
end

def quoted(client, value)
  case value
  when nil then 'NULL'
  when BigDecimal then value.to_s('F')
  when Numeric then value.to_s
  when Time then "'#{text(value)}'"
  when String then value.encoding == Encoding::BINARY ? "x'#{value.unpack1('H*')}'" : "'#{client.escape(value)}'"
  else "'#{value}'"
  end
end

def large(client)
  client.query('DROP TABLE IF EXISTS rb_large')
  client.query('CREATE TABLE rb_large (id INT PRIMARY KEY, b LONGBLOB)')
  insert = client.prepare('INSERT INTO rb_large VALUES (?, ?)')
  [1 << 20, 17 << 20].each do |size|
    value = "0123456789abcde\xff".b * (size / 16)
    insert.execute(size, value)
    client.query("INSERT INTO rb_large VALUES (#{size} + 1, x'#{value.unpack1('H*')}')") if size == 1 << 20
    client.prepare('SELECT b, SHA2(b, 256) FROM rb_large WHERE id >= ? ORDER BY id').execute(size).each do |read, sum|
      show('large', read, read == value, sum == Digest::SHA256.hexdigest(value))
    end
    show('large as text', client.query("SELECT b FROM rb_large WHERE id = #{size}").first.first == value)
  end
end

def transactions(client)
  client.query('DROP TABLE IF EXISTS rb_money')
  client.query('CREATE TABLE rb_money (id INT PRIMARY KEY, balance INT NOT NULL)')
  rows = -> { client.query('SELECT * FROM rb_money ORDER BY id').to_a }
  client.query('BEGIN')
  client.query('INSERT INTO rb_money VALUES (1, 100), (2, 100)')
  show('inserted', client.affected_rows, client.query_info)
  client.query('COMMIT')
  client.query('START TRANSACTION')
  client.query('UPDATE rb_money SET balance = 0')
  show('updated', client.affected_rows, client.query_info_string, rows.call)
  client.query('ROLLBACK')
  show('after rollback', rows.call)
  client.query('SET autocommit = 0')
  client.query('SAVEPOINT one')
  client.prepare('DELETE FROM rb_money WHERE id = ?').execute(1)
  client.query('ROLLBACK TO one')
  client.query('UPDATE rb_money SET balance = 100')
  show('changed nothing', client.affected_rows)
  client.query('COMMIT')
  client.query('SET autocommit = 1')
  show('at the end', rows.call)
  found = dial(flags: Mysql2::Client::FOUND_ROWS)
  found.query('UPDATE rb_money SET balance = 100')
  show('found rows', found.affected_rows)
  client.query('INSERT INTO rb_money VALUES (1, 5), (3, 7) ON DUPLICATE KEY UPDATE balance = 5')
  show('on duplicate', client.affected_rows, client.query_info)
end

def errors(client)
  ['INSERT INTO rb_money VALUES (1, 5)', 'SELECT * FROM rb_missing', 'SELEC 1', 'INSERT INTO rb_money VALUES (7, NULL)',
   'INSERT INTO rb_money VALUES (7, 99999999999)', 'SELECT nothing FROM rb_money', 'DO 1, 2, (SELECT 1 UNION SELECT 2)'].each do |sql|
    fails("text: #{sql}") { client.query(sql) }
    fails("prepared: #{sql}") { client.prepare(sql).execute }
  end
  client.query('INSERT IGNORE INTO rb_money VALUES (1, 5), (2, 5)')
  show('ignored', client.affected_rows, client.warning_count, client.query_info)
  show('warnings', client.query('SHOW WARNINGS').to_a)
end

def several_results
  client = dial(flags: Mysql2::Client::MULTI_STATEMENTS)
  results = lambda do |title, sql|
    show(title, client.query(sql).to_a)
    while client.more_results?
      break unless client.next_result

      result = client.store_result
      show(title, result ? result.to_a : client.affected_rows)
    end
  end
  results.call('one of several', "SELECT 1; UPDATE rb_money SET balance = balance + 1; SELECT 'three', 3")
  begin
    results.call('before the error', 'SELECT 1; SELEC 2; SELECT 3')
  rescue Mysql2::Error => error
    # How much of the text the message quotes is not the same everywhere.
    show('in the middle', error.error_number, error.sql_state)
  end
  client.query('DROP PROCEDURE IF EXISTS rb_two')
  client.query('CREATE PROCEDURE rb_two(a INT) BEGIN SELECT a; SELECT a + 1, a + 2; END')
  results.call('called', 'CALL rb_two(5)')
  client.query('SELECT 1; SELECT 2')
  client.abandon_results!
  show('in step', client.query('SELECT 7').to_a)
  fails('several at once') { dial.query('SELECT 1; SELECT 2') }
end

def streamed(client)
  client.query('DROP TABLE IF EXISTS rb_many')
  client.query('CREATE TABLE rb_many (id INT PRIMARY KEY, t VARCHAR(100))')
  client.query("INSERT INTO rb_many VALUES #{(1..10_000).map { |id| format("(%d, '%050d')", id, id) }.join(', ')}")
  count = total = 0
  client.query('SELECT * FROM rb_many ORDER BY id', stream: true, cache_rows: false).each do |id, t|
    count += 1
    total += id + t.size
  end
  show('streamed', count, total)
  show('in step', client.query('SELECT COUNT(*) FROM rb_many').to_a)
end

def connections(client)
  show('ping', client.ping)
  client.select_db('app')
  fails('no such schema') { client.select_db('missing') }
  show('schema', client.query('SELECT DATABASE()').to_a)
  pool = Array.new(4) { dial }
  pool.each_with_index.map do |member, number|
    Thread.new { 5.times { |round| member.query("INSERT INTO rb_many VALUES (#{20_000 + number * 10 + round}, 'pooled')") } }
  end.each(&:join)
  show('pooled', pool.map { |member| member.query("SELECT COUNT(*) FROM rb_many WHERE t = 'pooled'").first })
  pool.each { |member| member.query('SELECT SLEEP(0.05), 1', async: true) }
  show('asynchronous', pool.map { |member| member.async_result.to_a })
  client.query("KILL #{pool[0].thread_id}")
  show('after KILL', (pool[0].query('SELECT 1') && 'alive' rescue 'ended'))
  pool.each(&:close)
  show('ping of a closed one', pool[1].ping)
  again = dial(reconnect: true)
  client.query("KILL #{again.thread_id}")
  show('reconnected', again.ping, again.query('SELECT DATABASE()').to_a)
end

def later
  Tempfile.create('load') do |file|
    file.write("30001\tone\n30002\ttwo\n")
    file.close
    local = dial(local_infile: true)
    fails('load data') { local.query("LOAD DATA LOCAL INFILE '#{file.path}' INTO TABLE rb_many") }
    show('loaded', local.query_info, local.query('SELECT id, t FROM rb_many WHERE id > 30000 ORDER BY id').to_a)
  end
  client = dial(flags: Mysql2::Client::MULTI_STATEMENTS)
  fails('an option') { client.set_server_option(Mysql2::Client::OPTION_MULTI_STATEMENTS_OFF) }
  fails('several at once') { client.query('SELECT 1; SELECT 2').to_a }
  cursor = client.prepare('SELECT id FROM rb_many WHERE id < 8 ORDER BY id').execute(stream: true, cache_rows: false)
  show('cursor', cursor.map(&:first))
end

$stdout.sync = true
logins
client = dial
types(client)
large(client)
transactions(client)
errors(client)
several_results
streamed(client)
connections(client)
later if WISHES.include?('later')
puts 'done'
