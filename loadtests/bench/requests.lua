-- wrk's requests: POST /v1/chat/completions with a number that the reply must repeat.
-- One connection a thread (wrk -t N -c N), so a thread knows exactly which reply it waits for.
-- Arguments after `--`: the file with the body, in which @NUMBER@ stands for twelve digits, and the caller's key.

local threads = {}

function setup(thread)
   thread:set("id", #threads + 1)
   table.insert(threads, thread)
end

function init(args)
   local file = assert(io.open(args[1], "rb"))
   local template = file:read("*a"):gsub("@NUMBER@", "000000000000")
   file:close()
   local headers = {["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. args[2]}
   local whole = wrk.format("POST", "/v1/chat/completions", headers, template)
   local from, to = whole:find("000000000000", 1, true)
   before, after = whole:sub(1, from - 1), whole:sub(to + 1)
   count, wrong, sample = 0, 0, ""
end

function request()
   count = count + 1
   expected = string.format("%04d%08d", id or 0, count)
   return before .. expected .. after
end

function response(status, headers, body)
   if status ~= 200 or not body:find('"chatcmpl-' .. expected .. '"', 1, true) then
      wrong = wrong + 1
      sample = status .. " instead of number " .. expected .. ": " .. body:sub(1, 200)
   end
end

function done(summary, latency, requests)
   local wrong, sample = 0, ""
   for _, thread in ipairs(threads) do
      wrong = wrong + thread:get("wrong")
      if thread:get("wrong") > 0 then sample = thread:get("sample") end
   end
   local e = summary.errors
   io.write(string.format(
      '{"requests": %d, "duration_us": %d, "wrong": %d, "broken": %d, "sample": "%s"}\n', summary.requests,
      summary.duration, wrong, e.connect + e.read + e.write + e.timeout, sample:gsub('[^%w %.,:-]', "_")))
end
