-- The reads of the side-by-side benchmark, for sysbench: one statement per event, prepared once per client. With --db-ps-mode=auto it
-- is a prepared statement of the server, with --db-ps-mode=disable sysbench writes the values into the text and sends COM_QUERY.
-- The table is made by the benchmark (crates/testkit/src/bench/table.rs).

local RANGE = 100

sysbench.cmdline.options = {
   read = {"What each event reads: point, range or large", "point"},
   rows = {"Rows of the table", 10000},
}

local READS = {
   point = "SELECT c FROM bench WHERE id = ?",
   range = "SELECT c FROM bench WHERE id BETWEEN ? AND ?",
   large = "SELECT id, k FROM bench WHERE id <= ?",
}

function thread_init()
   local sql = READS[sysbench.opt.read] or error("no such read: " .. sysbench.opt.read)
   connection = sysbench.sql.driver():connect()
   statement = connection:prepare(sql)
   first = statement:bind_create(sysbench.sql.type.INT)
   if sysbench.opt.read == "range" then
      last = statement:bind_create(sysbench.sql.type.INT)
      statement:bind_param(first, last)
   else
      statement:bind_param(first)
   end
end

function event()
   if sysbench.opt.read == "large" then
      first:set(sysbench.opt.rows)
   elseif sysbench.opt.read == "range" then
      local begin = sysbench.rand.uniform(1, sysbench.opt.rows - RANGE + 1)
      first:set(begin)
      last:set(begin + RANGE - 1)
   else
      first:set(sysbench.rand.uniform(1, sysbench.opt.rows))
   end
   statement:execute()
end

function thread_done()
   statement:close()
   connection:disconnect()
end
