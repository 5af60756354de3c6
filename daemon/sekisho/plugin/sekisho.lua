-- Sekisho's checkpoint in LuaJIT: the verdict and the counters on the shared tables, in a resolver's own process.
--
-- Written from `snapshot/FORMAT.md` alone, which says what every name here means. Needs LuaJIT's FFI and nothing else.
--
--   local sekisho = dofile("/etc/.../sekisho.lua")
--   sekisho.dnsdist{tables=..., key=..., closed=false}    before all other rules of dnsdist's configuration
--   sekisho.recursor{...}                                  in the script of lua-dns-script
--   sekisho.knot{...}                                      in kresd.conf, before other policies
--
-- What a resolver's hooks cannot say stands in daemon/README.md.

local ffi = require("ffi")
local bit = require("bit")
local band, bor, bxor, rol, rshift, lshift = bit.band, bit.bor, bit.bxor, bit.rol, bit.rshift, bit.lshift
local C = ffi.C

pcall(ffi.cdef, [[
  typedef struct { char magic[8]; uint32_t order; uint16_t version, kind; uint64_t number, length; uint32_t sections, flags;
                   uint8_t digest[16]; uint8_t rest[8]; } sekisho_header;
  typedef struct { char name[24]; char dtype[8]; uint64_t rows, columns, offset, size; } sekisho_section;
  typedef struct { int64_t seconds, nanoseconds; } sekisho_time;
]])
-- Each apart: a resolver may have declared some of them already.
for _, declaration in ipairs{
  "int open(const char *, int, ...);", "int close(int);", "void *mmap(void *, size_t, int, int, int, int64_t);",
  "int munmap(void *, size_t);", "int64_t lseek(int, int64_t, int);", "int flock(int, int);", "int getpid(void);",
  "int posix_fallocate(int, int64_t, int64_t);", "int rename(const char *, const char *);",
  "int64_t pread(int, void *, size_t, int64_t);", "int clock_gettime(int, void *);", "char *strerror(int);",
  "int statx(int, const char *, int, unsigned, void *);",
} do pcall(ffi.cdef, declaration) end

local SNAPSHOT, CUSTOMERS, COUNTS, HITS, HEAD, BUDGETS = 1, 2, 3, 4, 5, 7
local VERSIONS = {[SNAPSHOT] = 3, [CUSTOMERS] = 3, [COUNTS] = 1, [HITS] = 1, [HEAD] = 1, [BUDGETS] = 1}
local CELLS = {["<u8"] = "uint64_t", ["<u4"] = "uint32_t", ["<u2"] = "uint16_t", ["|u1"] = "uint8_t"}
local WIDTHS = {["<u8"] = 8, ["<u4"] = 4, ["<u2"] = 2, ["|u1"] = 1}
local ACTIVE, SILENCED, TRUNCATE, GARDEN = 1, 2, 4, 16
local NXDOMAIN, NODATA, REFUSED, DROP, SINKHOLE, PASSTHRU, TCP_ONLY, LOCAL, CHASE, EXCEPT = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
local BLOCK_TTL, GARDEN_TTL = 60, 10
local RING, ROOM = 65536, 15
local CLIENTS = 4
local NOBODY, NONE = 4294967295, 65535
-- Slots of `totals`.
local STEP = {source = 5, silenced = 6, budget = 7, mandatory = 8, entitled = 9, forward = 11, garden = 38}
local AT_HITS, AT_PASSTHRU, AT_TRUNCATED = 30, 31, 28
local K1, K2, K3, K4 = 0x9E3779B97F4A7C15ULL, 0xC2B2AE3D27D4EB4FULL, 0x165667B19E3779F9ULL, 0xD6E8FEB86659FD93ULL
local ALL = 0xFFFFFFFFFFFFFFFFULL
local V4 = 0xFFFF00000000ULL

local M = {}

-- Files -----------------------------------------------------------------------------------------------------------------

local Table = {}
Table.__index = Table

-- A mapped file: its sections by name, as pointers to cells, with `rows` and `columns`. nil and why, if it is no good.
local function map(path, kind, writable)
  local fd = C.open(path, writable and 2 or 0)
  if fd < 0 then return nil, path .. " cannot be opened; see that sekishod runs, and the rights of this process" end
  local size = tonumber(C.lseek(fd, 0, 2))
  local memory = size >= 64 and C.mmap(nil, size, writable and 3 or 1, 1, fd, 0) or nil
  C.close(fd)
  if memory == nil or ffi.cast("intptr_t", memory) == -1 then return nil, path .. " cannot be mapped; it may be truncated" end
  local self = setmetatable({sections = {}, path = path}, Table)
  self.memory = ffi.gc(ffi.cast("uint8_t *", memory), function(at) C.munmap(at, size) end)
  local header = ffi.cast("sekisho_header *", memory)
  if ffi.string(header.magic, 8) ~= "SEKISHO\0" or header.order ~= 0x01020304 or header.kind ~= kind then
    return nil, path .. " is no table of its kind and byte order"
  end
  if header.version ~= VERSIONS[kind] then
    return nil, ("%s has layout version %d, this plugin reads %d; give both the same release of Sekisho")
      :format(path, header.version, VERSIONS[kind])
  end
  if tonumber(header.length) > size or 64 + 64 * header.sections > size then return nil, path .. " is truncated" end
  local entries = ffi.cast("sekisho_section *", self.memory + 64)
  for index = 0, header.sections - 1 do
    local entry = entries[index]
    local dtype, rows, columns = ffi.string(entry.dtype), tonumber(entry.rows), tonumber(entry.columns)
    local many = rows * math.max(columns, 1)
    if not CELLS[dtype] or many * WIDTHS[dtype] ~= tonumber(entry.size) or tonumber(entry.offset + entry.size) > size then
      return nil, path .. " has a section that does not fit; it is damaged"
    end
    self.sections[ffi.string(entry.name)] =
      {cells = ffi.cast(CELLS[dtype] .. " *", self.memory + entry.offset), rows = rows, items = many}
  end
  return self
end

-- The cells of sections, and their items; nil and why if one is missing.
local function cells_of(table, names)
  local found = {}
  for _, name in ipairs(names) do
    local section = table.sections[name]
    if not section then return nil, table.path .. " lacks section " .. name .. "; it is damaged" end
    found[name], found[name .. "_items"] = section.cells, section.items
  end
  found.table = table
  return found
end

-- Make a table of zeros aside and rename it; false if the folder does not take it.
local function create(path, kind, number, shapes)
  local offset = 64 + 64 * #shapes
  offset = offset + -offset % 64
  local first = offset
  for _, shape in ipairs(shapes) do
    local size = shape[3] * math.max(shape[4], 1) * WIDTHS[shape[2]]
    offset = offset + size + -size % 64
  end
  local aside = ("%s.%d"):format(path:gsub("([^/]+)$", ".%1"), C.getpid())
  local fd = C.open(aside, 578, ffi.cast("int", 432)) -- O_RDWR | O_CREAT | O_TRUNC, 0660
  if fd < 0 then return false end
  local whole = C.posix_fallocate(fd, 0, offset) == 0
  local memory = whole and C.mmap(nil, offset, 3, 1, fd, 0) or nil
  C.close(fd)
  if memory == nil or ffi.cast("intptr_t", memory) == -1 then return false end
  local header = ffi.cast("sekisho_header *", memory)
  ffi.copy(header.magic, "SEKISHO\0", 8)
  header.order, header.version, header.kind, header.number = 0x01020304, VERSIONS[kind], kind, number
  header.length, header.sections = offset, #shapes
  local entries = ffi.cast("sekisho_section *", ffi.cast("uint8_t *", memory) + 64)
  for index, shape in ipairs(shapes) do
    local entry, size = entries[index - 1], shape[3] * math.max(shape[4], 1) * WIDTHS[shape[2]]
    ffi.copy(entry.name, shape[1])
    ffi.copy(entry.dtype, shape[2])
    entry.rows, entry.columns, entry.offset, entry.size = shape[3], shape[4], first, size
    first = first + size + -size % 64
  end
  C.munmap(memory, offset)
  if C.rename(aside, path) == 0 then return true end
  os.remove(aside)
  return false
end

-- Open the file of a number, or make it; nil if it is another user's, whose files this process could not replace, and the reason besides
-- if it can be neither opened nor made. O_NOATIME is for a file's owner alone, and O_CREAT is refused in such a folder on another's file.
local function open_own(path)
  local EPERM, ENOENT, EACCES, EEXIST = 1, 2, 13, 17
  local code
  for _ = 1, 2 do
    local fd = C.open(path, 786432) -- O_RDONLY | O_CLOEXEC | O_NOATIME
    if fd >= 0 then return fd end
    code = ffi.errno()
    if code == EPERM or code == EACCES then return nil end
    if code ~= ENOENT then break end
    fd = C.open(path, 524480, ffi.cast("int", 432)) -- O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0660
    if fd >= 0 then return fd end
    code = ffi.errno()
    if code == EPERM or code == EACCES then
      return nil, path:match("(.*)/") .. " cannot be written; give this process the tables' group"
    end
    if code ~= EEXIST then break end
  end
  return nil, ("%s cannot be written (%s); see the folder's room and rights"):format(path, ffi.string(C.strerror(code)))
end

local state, has_statx = ffi.new("uint64_t[32]"), pcall(function() return C.statx end)

-- Which file stands under a path: another inode means it was made anew; nil if there is none, or the C library cannot tell.
local function inode(path)
  if has_statx and C.statx(-100, path, 0, 256, state) == 0 then return tonumber(state[4]) end -- AT_FDCWD, STATX_INO; stx_ino
end

local clock = ffi.new("sekisho_time")

local function nanoseconds(which)
  C.clock_gettime(which, clock)
  return clock.seconds * 1000000000LL + clock.nanoseconds
end

-- Names -----------------------------------------------------------------------------------------------------------------

local function round(a, b, c, d)
  a = a + b
  b = bxor(rol(b, 13), a)
  a = rol(a, 32)
  c = c + d
  d = bxor(rol(d, 16), c)
  a = a + d
  d = bxor(rol(d, 21), a)
  c = c + b
  b = bxor(rol(b, 17), c)
  c = rol(c, 32)
  return a, b, c, d
end

local function start(k0, k1)
  return bxor(k0, 0x736F6D6570736575ULL), bxor(k1, 0x646F72616E646F6DULL, 0xEEULL),
    bxor(k0, 0x6C7967656E657261ULL), bxor(k1, 0x7465646279746573ULL)
end

-- Take in the label at `at` of `text` (uint8_t *, length byte first), zero padded to words.
local function absorb(text, at, a, b, c, d)
  local rest = text[at] + 1
  while rest > 0 do
    local word = 0ULL
    for index = math.min(rest, 8) - 1, 0, -1 do word = bor(lshift(word, 8), ffi.cast("uint64_t", text[at + index])) end
    d = bxor(d, word)
    a, b, c, d = round(a, b, c, d)
    a, b, c, d = round(a, b, c, d)
    a = bxor(a, word)
    at, rest = at + 8, rest - 8
  end
  return a, b, c, d
end

local function finish(a, b, c, d)
  c = bxor(c, 0xEEULL)
  for _ = 1, 4 do a, b, c, d = round(a, b, c, d) end
  local first = bxor(a, b, c, d)
  if first == 0 then first = 1ULL end
  b = bxor(b, 0xDDULL)
  for _ = 1, 4 do a, b, c, d = round(a, b, c, d) end
  return first, bxor(a, b, c, d)
end

-- (word >> 32) * slots >> 32: the slot at which a search starts.
local function place(word, slots)
  return tonumber(rshift(rshift(word, 32) * slots, 32))
end

-- The checkpoint --------------------------------------------------------------------------------------------------------

local Checkpoint = {}
Checkpoint.__index = Checkpoint

local SNAPSHOT_SECTIONS = {"keys", "combo", "holders", "offsets", "choices", "depths", "actions", "records", "rdata", "rules",
  "defaults", "ede", "notes", "spans", "text", "mandatory", "chains", "watched", "budgets", "garden", "passes", "grounds", "check"}

local function read_key(path)
  local file = io.open(path, "rb")
  local raw = file and file:read("*a") or ""
  if file then file:close() end
  if #raw ~= 16 then
    raw = raw:gsub("%s", "")
    if #raw ~= 32 or raw:find("%X") then return nil end
    raw = raw:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)
  end
  local words = ffi.new("uint64_t[2]")
  ffi.copy(words, raw, 16)
  return words
end

-- options: tables (the folder), key (a file), closed (refuse without tables), log (a function of a sentence).
function M.open(options)
  local self = setmetatable({options = options, said = {}, looked = 0LL, words = ffi.new("uint8_t[272]"), labels = ffi.new("int32_t[128]")},
    Checkpoint)
  self.masks, self.combos = ffi.new("uint64_t[130]"), ffi.new("int32_t[130]")
  self.first, self.second = ffi.new("uint64_t[130]"), ffi.new("uint64_t[130]")
  self.prefix = ffi.new("uint8_t[32]")
  self:follow(nanoseconds(1))
  return self
end

function Checkpoint:say(sentence)
  if not self.said[sentence] then
    self.said[sentence] = true
    self.options.log("sekisho: " .. sentence)
  end
end

-- Take what the head names, unless it is in force. Looked at every tenth of a second, when a query comes.
function Checkpoint:follow(now)
  if now - self.looked < 100000000LL and self.looked > 0 then return end
  self.looked = now
  local ok, why = self:take()
  if not ok then
    local standing = self.snapshot and "the last good tables stay in force"
      or ("no tables are in force, and queries are " .. (self.options.closed and "refused" or "let through"))
    self:say(why .. "; " .. standing)
  end
  if self.counts then self.counts.worker[2] = ffi.cast("uint64_t", nanoseconds(0)) end
end

function Checkpoint:take()
  local folder = self.options.tables
  -- Made anew, as after its folder was wiped: what this process wrote was wiped too. Where it is missing, what is mapped stays.
  local identity = inode(folder .. "/head")
  if self.head and identity and identity ~= self.identity then self.head, self.renewed = nil, self.counts ~= nil end
  if not self.head then
    local table, why = map(folder .. "/head", HEAD)
    if not table then return nil, why end
    local cells, missing = cells_of(table, {"values"})
    if not cells then return nil, missing end
    self.head, self.identity = cells, identity
  end
  local epoch, generation = tonumber(self.head.values[0]), tonumber(self.head.values[1])
  if epoch == 0 or generation == 0 then return nil, "sekishod has published no tables yet" end
  local anew = self.renewed
  if epoch == self.epoch and generation == self.generation and not anew then return true end
  local snapshot, customers, why = self.snapshot, self.customers, nil
  if epoch ~= self.epoch or anew then
    snapshot, why = self:map_snapshot(folder .. "/snapshot-" .. epoch)
    if not snapshot then return self:refuse(why, epoch, generation) end
  end
  if generation ~= self.generation or anew then
    local table
    table, why = map(folder .. "/customers-" .. generation, CUSTOMERS)
    if table then customers, why = cells_of(table, {"slots", "present", "rows"}) else customers = nil end
    if not customers then return self:refuse(why, epoch, generation) end
  end
  local done
  done, why = self:fit_anew(customers.rows_items / 4, epoch, generation)
  if not done then return nil, why end
  self.snapshot, self.customers, self.epoch, self.generation = snapshot, customers, epoch, generation
  self.said = {}
  self.options.log(("sekisho: tables taken, epoch %d, generation %d"):format(epoch, generation))
  return true
end

function Checkpoint:refuse(why, epoch, generation)
  if tonumber(self.head.values[0]) ~= epoch or tonumber(self.head.values[1]) ~= generation then return true end -- swapped meanwhile
  if self.counts then
    self.counts.worker[5] = epoch ~= self.epoch and epoch or 0
    self.counts.worker[7] = generation ~= self.generation and generation or 0
  end
  return nil, why
end

function Checkpoint:map_snapshot(path)
  local table, why = map(path, SNAPSHOT)
  if not table then return nil, why end
  local cells
  cells, why = cells_of(table, SNAPSHOT_SECTIONS)
  if not cells then return nil, why end
  local key = read_key(self.options.key)
  if not key then return nil, "the list key " .. self.options.key .. " cannot be read; give this process the daemon's list key" end
  local a, b, c, d = start(key[0], key[1])
  local name = ffi.new("uint8_t[40]")
  for _, label in ipairs{"invalid", "check", "sekisho-key"} do
    name[0] = #label
    ffi.copy(name + 1, label)
    a, b, c, d = absorb(name, 0, a, b, c, d)
  end
  local first, second = finish(a, b, c, d)
  if cells.check[0] ~= first or cells.check[1] ~= second then
    return nil, path .. " was built with another list key than " .. self.options.key .. "; give both the same"
  end
  self.key0, self.key1 = key[0], key[1]
  return cells
end

-- As `fit`; where the folder was made anew with other files, and if that fails what it wrote to before stays.
function Checkpoint:fit_anew(rows, epoch, generation)
  if not self.renewed then return self:fit(rows, epoch, generation) end
  local number, lock, counts, hits, budgets = self.number, self.lock, self.counts, self.hits, self.budgets
  self.number, self.lock, self.counts, self.hits, self.budgets = nil, nil, nil, nil, nil
  local done, why = self:fit(rows, epoch, generation)
  if done then
    counts.worker[2], self.renewed = 0, false
    C.close(lock)
    return true
  end
  if self.lock then C.close(self.lock) end
  self.number, self.lock, self.counts, self.hits, self.budgets = number, lock, counts, hits, budgets
  return nil, why
end

-- The files it writes, with room for `rows` customers. A number of its own is kept by a lock until the process ends.
function Checkpoint:fit(rows, epoch, generation)
  local folder = self.options.tables
  if not self.number then
    for bank = 1, 2 do
      for number = 144 * bank - ROOM, 144 * bank - 1 do
        local fd, why = open_own(folder .. "/.plugin-" .. number)
        if why then return nil, why end
        if fd and C.flock(fd, 6) == 0 then self.number, self.lock = number, fd elseif fd then C.close(fd) end
        if self.number then break end
      end
      if self.number then break end
    end
    if not self.number then
      return nil, "30 plugins count in " .. folder .. " already, or did as other users; there is room for no more: stop one, or remove"
        .. " the files .plugin-*, counts-* and hits-* of users that are gone"
    end
  end
  if not self.counts or self.counts.customers_items / 4 < rows then
    local path, room = folder .. "/counts-" .. self.number, rows + math.floor(rows / 4)
    if not create(path, COUNTS, self.number, {
      {"totals", "<u8", 64, 0}, {"lists", "<u8", 2, 64}, {"rules", "<u8", 2, 256}, {"epochs", "<u8", 2, 0}, {"latency", "<u8", 14, 0},
      {"worker", "<u8", 8, 0}, {"customers", "<u4", room, 4}, {"patterns", "<u4", room, 4},
    }) then return nil, path .. " cannot be made; see the room and the rights of the tables' folder" end
    local table, why = map(path, COUNTS, true)
    if not table then return nil, why end
    local names = {"totals", "lists", "rules", "epochs", "latency", "worker", "customers", "patterns"}
    local counts = cells_of(table, names)
    if self.counts then
      for _, name in ipairs(names) do
        local width = (name == "customers" or name == "patterns") and 4 or 8
        ffi.copy(counts[name], self.counts[name], width * self.counts[name .. "_items"])
      end
    else
      counts.worker[0], counts.worker[1], counts.worker[6] = C.getpid(), ffi.cast("uint64_t", nanoseconds(0)), 2
    end
    self.counts = counts
  end
  if not self.hits then
    local path = folder .. "/hits-" .. self.number
    local table = map(path, HITS, true)
    if not table then
      create(path, HITS, self.number, {{"ring", "<u8", RING, 6}, {"cursor", "<u8", 8, 0}})
      local why
      table, why = map(path, HITS, true)
      if not table then return nil, why end
    end
    self.hits = cells_of(table, {"ring", "cursor"})
  end
  if not self.budgets or self.budgets.full_items < rows then self:map_budgets(rows) end
  local half, counts = epoch % 2, self.counts
  if tonumber(counts.epochs[half]) ~= epoch then
    counts.epochs[half] = 0
    ffi.fill(counts.lists + 64 * half, 8 * 64)
    ffi.fill(counts.rules + 256 * half, 8 * 256)
    counts.epochs[half] = epoch
  end
  counts.worker[3], counts.worker[4], counts.worker[5], counts.worker[7] = epoch, generation, 0, 0
  return true
end

-- The buckets all share, or, where those are not to be written or too few, some of its own.
function Checkpoint:map_budgets(rows)
  local shared, own = self.options.tables .. "/budgets", self.options.tables .. "/.budgets-" .. self.number
  for _, path in ipairs{shared, own} do
    local table = map(path, BUDGETS, true)
    local cells = table and cells_of(table, {"full"})
    if not cells and (path == own or not io.open(path)) and create(path, BUDGETS, 0, {{"full", "<u8", rows + math.floor(rows / 4), 0}}) then
      table = map(path, BUDGETS, true)
      cells = table and cells_of(table, {"full"})
    end
    if cells and cells.full_items >= rows then
      self.budgets = cells
      return
    end
  end
end

-- Row of the customer whose longest prefix holds the address, or -1.
local function customer_of(customers, high, low)
  local slots, present, count = customers.slots, customers.present, customers.slots_items / 4
  local shortest = (high == 0 and rshift(low, 32) == 0xFFFFULL) and 96 or 0
  for length = 128, shortest, -1 do
    if band(rshift(present[rshift(length, 6)], band(length, 63)), 1ULL) ~= 0 then
      local h, l = high, low
      if length == 0 then
        h, l = 0ULL, 0ULL
      elseif length <= 64 then
        h, l = length < 64 and band(high, lshift(ALL, 64 - length)) or high, 0ULL
      elseif length < 128 then
        l = band(low, lshift(ALL, 128 - length))
      end
      local x = bxor(h * K1, l * K2, ffi.cast("uint64_t", length) * K3)
      x = bxor(x, rshift(x, 32)) * K4
      x = bxor(x, rshift(x, 32)) * K1
      local slot = place(x, count)
      for _ = 1, count do
        local at = slots + 4 * slot
        local state = at[2]
        local found = tonumber(band(state, 0xFFFFFFFFULL))
        if found == 0 then break end
        if found == length + 1 and at[0] == h and at[1] == l then
          local owner = tonumber(rshift(state, 32))
          if owner ~= NOBODY then return owner end
          break
        end
        slot = slot + 1
        if slot == count then slot = 0 end
      end
    end
  end
  return -1
end

-- Whether one more query is within a budget, taking it. Other processes write the same word; theirs may get lost, ours too.
local function spend(full, row, rate, burst, now)
  local cost = 1000000000LL / rate
  local depth = cost * math.max(1, burst)
  local at = ffi.cast("int64_t", full[row])
  if at - now > depth + 1000000000LL then at = now end
  local after = (at > now and at or now) + cost
  if after - now > depth then return false end
  full[row] = ffi.cast("uint64_t", after)
  return true
end

-- The name in lower case at self.words, its labels' offsets in self.labels; the count of labels, or nil if it is no name.
function Checkpoint:read_name(wire)
  local words, labels, at, count = self.words, self.labels, 0, 0
  if #wire > 255 then return nil end
  ffi.fill(words, 272)
  while true do
    local length = wire:byte(at + 1)
    if not length or length > 63 then return nil end
    words[at] = length
    if length == 0 then return count end
    labels[count] = at
    count = count + 1
    for index = at + 2, at + 1 + length do
      local octet = wire:byte(index)
      if not octet then return nil end
      words[index - 1] = (octet >= 65 and octet <= 90) and octet + 32 or octet
    end
    at = at + 1 + length
  end
end

-- Whether the name, or one above it, resolves in the walled garden too.
local function is_let_out(snapshot, words, labels, count)
  for row = 0, snapshot.passes_items / 3 - 1 do
    local depth, from, size = snapshot.passes[3 * row], snapshot.passes[3 * row + 1], snapshot.passes[3 * row + 2]
    if depth > 0 and depth <= count then
      local first, same = labels[count - depth], true
      for index = 0, size - 1 do
        if words[first + index] ~= snapshot.rdata[from + index] then
          same = false
          break
        end
      end
      if same then return true end
    end
  end
  return false
end

-- Note what stands under a digest for lists of `mask`, of the name itself (`exact` 1) or of one above it (0); how many are noted then.
function Checkpoint:enter(found, first, second, mask, exact)
  local snapshot = self.snapshot
  local slots = snapshot.keys_items / 2
  local slot = place(first, slots)
  for _ = 1, slots do
    local stored = snapshot.keys[2 * slot]
    if stored == 0 then return found end
    if stored == first and snapshot.keys[2 * slot + 1] == second then
      local combo = snapshot.combo[slot]
      local held = band(snapshot.holders[2 * combo + 1 - exact], mask)
      if held == 0 then return found end
      self.masks[found], self.combos[found], self.first[found], self.second[found] = held, 2 * combo + exact, first, second
      return found + 1
    end
    slot = slot + 1
    if slot == slots then slot = 0 end
  end
  return found
end

-- Every suffix of the name that a list of `mask` holds, from the shortest; how many.
function Checkpoint:match(count, mask)
  local snapshot, words, labels = self.snapshot, self.words, self.labels
  local found = 0
  local a, b, c, d = start(self.key0, self.key1)
  for depth = 1, count do
    a, b, c, d = absorb(words, labels[count - depth], a, b, c, d)
    if band(rshift(snapshot.depths[rshift(depth, 6)], band(depth, 63)), 1ULL) ~= 0 then
      local first, second = finish(a, b, c, d)
      found = self:enter(found, first, second, mask, depth == count and 1 or 0)
    end
  end
  return found
end

-- Every prefix of a list of `mask` that holds a client's address, from the shortest; how many.
function Checkpoint:match_client(high, low, mask)
  local snapshot, key = self.snapshot, self.prefix
  local watched, found = snapshot.watched + CLIENTS, 0
  key[0], key[1], key[2], key[3] = 2, 67, 76, 17 -- the label CL, and the length of the next
  local a0, b0, c0, d0 = start(self.key0, self.key1)
  a0, b0, c0, d0 = absorb(key, 0, a0, b0, c0, d0)
  for length = (high == 0 and rshift(low, 32) == 0xFFFFULL) and 96 or 0, 128 do
    if band(rshift(watched[rshift(length, 6)], band(length, 63)), 1ULL) ~= 0 then
      local h, l = high, low
      if length == 0 then
        h, l = 0ULL, 0ULL
      elseif length <= 64 then
        h, l = length < 64 and band(high, lshift(ALL, 64 - length)) or high, 0ULL
      elseif length < 128 then
        l = band(low, lshift(ALL, 128 - length))
      end
      key[4] = length
      for index = 0, 7 do
        key[5 + index] = tonumber(band(rshift(h, 56 - 8 * index), 255ULL))
        key[13 + index] = tonumber(band(rshift(l, 56 - 8 * index), 255ULL))
      end
      local first, second = finish(absorb(key, 3, a0, b0, c0, d0))
      found = self:enter(found, first, second, mask, 1)
    end
  end
  return found
end

local function bits_below(mask, limit)
  local rest, count = limit == 64 and mask or band(mask, lshift(1ULL, limit) - 1ULL), 0
  while rest ~= 0 do
    rest = band(rest, rest - 1ULL)
    count = count + 1
  end
  return count
end

-- The first list of `within` that holds the name: order, row of the match, action; nil if none does.
function Checkpoint:choose(found, within)
  local snapshot, union = self.snapshot, 0ULL
  for row = 0, found - 1 do union = bor(union, self.masks[row]) end
  union = band(union, within)
  for order = 0, 63 do
    local one = lshift(1ULL, order)
    if band(union, one) ~= 0 then
      for row = found - 1, 0, -1 do
        if band(self.masks[row], one) ~= 0 then
          local combo, at = rshift(self.combos[row], 1), nil
          at = snapshot.offsets[combo]
          if band(self.combos[row], 1) == 1 then
            at = at + bits_below(snapshot.holders[2 * combo], order)
          else
            at = at + bits_below(snapshot.holders[2 * combo], 64) + bits_below(snapshot.holders[2 * combo + 1], order)
          end
          local action = snapshot.choices[at]
          if snapshot.actions[4 * action] ~= EXCEPT then return order, row, action end
          break
        end
      end
    end
  end
  return nil
end

-- What is to be done with a query: "pass", "silence", "refuse" (no tables, failing closed), or "answer" with
-- {rcode, tc, records = {{type, ttl, rdata}, ...}, soa (ttl) or nil, ede, text}. `wire`: the name; `stream`: over TCP.
function Checkpoint:judge(high, low, wire, qtype, stream)
  local now = nanoseconds(1)
  self:follow(now)
  if not self.snapshot then return self.options.closed and "refuse" or "pass" end
  local count = self:read_name(wire)
  if not count then return "answer", {rcode = 1, records = {}} end
  local customers, counts = self.customers, self.counts
  local totals = counts.totals
  local transport = (stream and 2 or 0) + ((high == 0 and rshift(low, 32) == 0xFFFFULL) and 0 or 1)
  totals[transport] = totals[transport] + 1
  local row = customer_of(customers, high, low)
  local standing = row >= 0 and customers.rows[4 * row + 2] or 0ULL
  local flags = tonumber(band(rshift(standing, 32), 0xFFFFULL))
  if row < 0 or band(flags, ACTIVE) == 0 then
    totals[STEP.source] = totals[STEP.source] + 1
    return "answer", {rcode = 5, records = {}, ede = 18, text = "", last = true}
  end
  local people = counts.customers + 4 * row
  people[0] = people[0] + 1
  local measure = tonumber(band(rshift(standing, 16), 0xFFFFULL))
  if band(flags, SILENCED) ~= 0 then
    self:decide(people, 3, "silenced", measure > 0 and measure - 1 or NONE)
    return "silence"
  end
  local budget = customers.rows[4 * row + 1]
  local rate = tonumber(band(budget, 0xFFFFFFFFULL))
  if rate > 0 and self.budgets and row < self.budgets.full_items
    and not spend(self.budgets.full, row, rate, tonumber(rshift(budget, 32)), now) then
    local limiter, profile = tonumber(rshift(standing, 48)), tonumber(band(standing, 0xFFFFULL))
    local rule = limiter > 0 and limiter - 1 or (profile < self.snapshot.budgets_items and self.snapshot.budgets[profile] or NONE)
    self:decide(people, 2, "budget", rule)
    if stream or band(flags, TRUNCATE) == 0 then return "silence" end
    totals[AT_TRUNCATED] = totals[AT_TRUNCATED] + 1
    return "answer", {rcode = 0, tc = true, records = {}}
  end
  if band(flags, GARDEN) ~= 0 and not is_let_out(self.snapshot, self.words, self.labels, count) then
    local rule = measure > 0 and measure - 1 or NONE
    self:decide(people, 3, "garden", rule)
    local span = rule < self.snapshot.grounds_items and self.snapshot.grounds[rule] or 0
    return self:phrase(self.snapshot.garden[0], qtype, stream, GARDEN_TTL, 15, span)
  end
  return self:ask_lists(row, people, tonumber(band(standing, 0xFFFFULL)), count, high, low, qtype, stream)
end

-- Count a query that a measure or a budget decided.
function Checkpoint:decide(people, column, step, rule)
  local counts = self.counts
  people[column] = people[column] + 1
  counts.totals[STEP[step]] = counts.totals[STEP[step]] + 1
  if rule < 256 then
    local at = 256 * (self.epoch % 2) + rule
    counts.rules[at] = counts.rules[at] + 1
  end
end

-- Of what was found the list that is asked first: its rank, order, action and the digest of the match; nil if none.
function Checkpoint:first_list(found, mandatory)
  if found == 0 then return nil end
  local order, at, action = self:choose(found, mandatory)
  local rank = order
  if not order then
    order, at, action = self:choose(found, bit.bnot(mandatory))
    if not order then return nil end
    rank = order + 64
  end
  return rank, order, action, self.first[at], self.second[at]
end

function Checkpoint:ask_lists(row, people, profile, count, high, low, qtype, stream)
  local snapshot, mask = self.snapshot, self.customers.rows[4 * row]
  if mask == 0 or profile >= snapshot.mandatory_items then return self:pass(row) end
  local mandatory = snapshot.mandatory[profile]
  -- Of one list the client's trigger comes before the name's.
  local rank, order, action, first, second
  if band(snapshot.watched[CLIENTS + 3], mask) ~= 0 then
    rank, order, action, first, second = self:first_list(self:match_client(high, low, mask), mandatory)
  end
  local other, list, what, one, two = self:first_list(self:match(count, mask), mandatory)
  if other and (not rank or other < rank) then rank, order, action, first, second = other, list, what, one, two end
  if not order or snapshot.rules[64 * profile + order] == NONE then return self:pass(row) end
  if snapshot.actions[4 * action] == 0 then action = snapshot.defaults[64 * profile + order] end
  local kind = snapshot.actions[4 * action]
  if kind == PASSTHRU or (kind == TCP_ONLY and stream) then
    if kind == PASSTHRU then self.counts.totals[AT_PASSTHRU] = self.counts.totals[AT_PASSTHRU] + 1 end
    return self:pass(row)
  end
  people[1] = people[1] + 1
  local totals, rule = self.counts.totals, snapshot.rules[64 * profile + order]
  local step = STEP[rank < 64 and "mandatory" or "entitled"]
  totals[step] = totals[step] + 1
  self:record(row, order, rule, kind, first, second, qtype, stream)
  local here = 64 * profile + order
  return self:phrase(action, qtype, stream, BLOCK_TTL, snapshot.ede[here], snapshot.notes[here])
end

function Checkpoint:pass(row)
  local totals, patterns = self.counts.totals, self.counts.patterns + 4 * row
  totals[STEP.forward] = totals[STEP.forward] + 1
  patterns[0] = patterns[0] + 1
  return "pass", row
end

-- An answer that there is no such name went to the customer in `row`.
function Checkpoint:missing(row)
  local patterns = self.counts.patterns + 4 * row
  patterns[2] = patterns[2] + 1
end

function Checkpoint:record(row, order, rule, kind, first, second, qtype, stream)
  local counts, half = self.counts, self.epoch % 2
  local list, by = 64 * half + order, 256 * half + rule
  counts.lists[list] = counts.lists[list] + 1
  if rule < 256 then counts.rules[by] = counts.rules[by] + 1 end
  counts.totals[AT_HITS] = counts.totals[AT_HITS] + 1
  local number = self.hits.cursor[0]
  local ring = self.hits.ring + 6 * tonumber(number % RING)
  ring[0] = 0
  ring[1] = ffi.cast("uint64_t", nanoseconds(0))
  ring[2] = bor(ffi.cast("uint64_t", row), lshift(ffi.cast("uint64_t", rule), 32), lshift(ffi.cast("uint64_t", order), 48))
  ring[3], ring[4] = first, second
  ring[5] = bor(ffi.cast("uint64_t", qtype), lshift(ffi.cast("uint64_t", kind), 16), lshift(stream and 1ULL or 0ULL, 24),
    lshift(ffi.cast("uint64_t", self.epoch % 4294967296), 32))
  ring[0] = number + 1
  self.hits.cursor[0] = number + 1
end

-- The answer of an action; what says that there is nothing may be kept for `ttl` seconds.
function Checkpoint:phrase(action, qtype, stream, ttl, ede, span)
  local snapshot = self.snapshot
  local actions, spans = snapshot.actions, snapshot.spans
  local kind = actions[4 * action]
  if kind == DROP then return "silence" end
  local answer = {rcode = 0, records = {}, ede = ede}
  answer.text = ffi.string(snapshot.text + spans[2 * span], spans[2 * span + 1])
  if kind == NXDOMAIN or kind == NODATA then
    answer.rcode, answer.soa = kind == NXDOMAIN and 3 or 0, ttl
    return "answer", answer
  elseif kind == REFUSED then
    answer.rcode = 5
    return "answer", answer
  elseif (kind == TCP_ONLY or kind == CHASE) and not stream then
    return "answer", {rcode = 0, tc = true, records = {}, kind = kind, action = action}
  end
  local first = actions[4 * action + 1]
  for row = first, first + actions[4 * action + 2] - 1 do
    local record = snapshot.records + 4 * row
    if record[0] == qtype or qtype == 255 or kind == CHASE then
      answer.records[#answer.records + 1] = {record[0], record[1], ffi.string(snapshot.rdata + record[2], record[3])}
    end
  end
  if #answer.records == 0 then answer.soa = ttl end
  return "answer", answer
end

-- The CNAME of an answer that says TC=1 for want of it.
function Checkpoint:chase(answer)
  local record = self.snapshot.records + 4 * self.snapshot.actions[4 * answer.action + 1]
  return {rcode = 0, records = {{record[0], record[1], ffi.string(self.snapshot.rdata + record[2], record[3])}}, chase = true}
end

local SOA = "\0\0" .. "\0\0\0\1" .. "\0\0\14\16" .. "\0\0\2\88" .. "\0\1\81\128"

local function u16(value) return string.char(rshift(value, 8) % 256, value % 256) end
local function u32(value) return u16(math.floor(value / 65536)) .. u16(value % 65536) end

-- An address as its two words, from 4 or 16 octets.
local function address(octets)
  local high, low = 0ULL, 0ULL
  if #octets == 4 then
    for index = 1, 4 do low = bor(lshift(low, 8), ffi.cast("uint64_t", octets:byte(index))) end
    return high, bor(low, V4)
  end
  for index = 1, 8 do
    high = bor(lshift(high, 8), ffi.cast("uint64_t", octets:byte(index)))
    low = bor(lshift(low, 8), ffi.cast("uint64_t", octets:byte(index + 8)))
  end
  return high, low
end

-- The data of an answer's SOA record, in wire form.
local function soa_of(ttl) return SOA .. u32(ttl) end

M.address, M.soa_of, M.u16, M.u32 = address, soa_of, u16, u32

-- Hooks -----------------------------------------------------------------------------------------------------------------

-- dnsdist 1.7 and later: the first rule. Its answers are whole packets, put in place of the query.
function M.dnsdist(options)
  options.log = options.log or warnlog
  local checkpoint
  local pointer, size, name, long = ffi.new("const void *[1]"), ffi.new("size_t[1]"), ffi.new("const char *[1]"), ffi.new("size_t[1]")
  local function rule(dq)
    checkpoint = checkpoint or M.open(options)
    C.dnsdist_ffi_dnsquestion_get_remoteaddr(dq, pointer, size)
    C.dnsdist_ffi_dnsquestion_get_qname_raw(dq, name, long)
    local wire, qtype = ffi.string(name[0], long[0]), C.dnsdist_ffi_dnsquestion_get_qtype(dq)
    local high, low = address(ffi.string(pointer[0], size[0]))
    local outcome, answer = checkpoint:judge(high, low, wire, qtype, C.dnsdist_ffi_dnsquestion_get_tcp(dq))
    if outcome == "pass" then return DNSAction.None end
    if outcome == "silence" then return DNSAction.Drop end
    if outcome == "refuse" then return DNSAction.ServFail end
    local header = ffi.cast("uint8_t *", C.dnsdist_ffi_dnsquestion_get_header(dq))
    local length = 12 + #wire + 4
    -- The question as the client spelt it; EDNS, if there is any in the query, is in what follows it.
    local asked, edns = ffi.string(header, length), C.dnsdist_ffi_dnsquestion_get_len(dq) > length and header[10] * 256 + header[11] > 0
    local parts, count, authority = {}, 0, 0
    for _, record in ipairs(answer.records) do
      count = count + 1
      parts[#parts + 1] = "\192\12" .. u16(record[1]) .. "\0\1" .. u32(record[2]) .. u16(#record[3]) .. record[3]
    end
    if answer.soa then
      authority = 1
      local data = soa_of(answer.soa)
      parts[#parts + 1] = "\192\12" .. u16(6) .. "\0\1" .. u32(answer.soa) .. u16(#data) .. data
    end
    if edns then
      local option = answer.ede and (u16(15) .. u16(2 + #answer.text) .. u16(answer.ede) .. answer.text) or ""
      parts[#parts + 1] = "\0\0\41" .. u16(1232) .. (C.dnsdist_ffi_dnsquestion_get_do(dq) and "\0\0\128\0" or "\0\0\0\0") .. u16(#option) .. option
    end
    local body = table.concat(parts)
    local flags = band(asked:byte(3), 0x79) + 0x80 + (answer.tc and 2 or 0)
    local packet = asked:sub(1, 2) .. string.char(flags, 0x80 + band(asked:byte(4), 0x10) + answer.rcode)
      .. "\0\1" .. u16(count) .. u16(authority) .. u16(edns and 1 or 0) .. asked:sub(13) .. body
    if not C.dnsdist_ffi_dnsquestion_set_size(dq, #packet) then return DNSAction.ServFail end
    ffi.copy(C.dnsdist_ffi_dnsquestion_get_header(dq), packet, #packet)
    return DNSAction.HeaderModify
  end
  addAction(AllRule(), LuaFFIAction(rule))
end

-- PowerDNS Recursor 4.8 and later: before its packet cache. A list's CNAME is followed at once, over UDP too.
function M.recursor(options)
  options.log = options.log or pdnslog
  pcall(ffi.cdef, [[
    typedef struct pdns_ffi_param pdns_ffi_param_t;
    typedef enum { answer = 1, authority = 2, additional = 3 } pdns_record_place_t;
    void pdns_ffi_param_get_qname_raw(pdns_ffi_param_t *, const char **, size_t *);
    void pdns_ffi_param_get_remote_raw(pdns_ffi_param_t *, const void **, size_t *);
    uint16_t pdns_ffi_param_get_qtype(const pdns_ffi_param_t *);
    void pdns_ffi_param_set_tag(pdns_ffi_param_t *, unsigned int);
    void pdns_ffi_param_set_rcode(pdns_ffi_param_t *, int);
    void pdns_ffi_param_set_variable(pdns_ffi_param_t *, bool);
    void pdns_ffi_param_set_follow_cname_records(pdns_ffi_param_t *, bool);
    void pdns_ffi_param_set_extended_error_code(pdns_ffi_param_t *, uint16_t);
    void pdns_ffi_param_set_extended_error_extra(pdns_ffi_param_t *, size_t, const char *);
    bool pdns_ffi_param_add_record(pdns_ffi_param_t *, const char *, uint16_t, uint32_t, const char *, size_t, pdns_record_place_t);
  ]])
  local SILENT, ANSWERED, TRUNCATED, TCP_ALONE = 4294967294, 4294967293, 4294967292, 4294967291
  local checkpoint
  local pointer, size, name, long = ffi.new("const void *[1]"), ffi.new("size_t[1]"), ffi.new("const char *[1]"), ffi.new("size_t[1]")
  -- Records go in as text. Types without one here are left out of an answer.
  local function name_of(data, at)
    local text = ""
    while data:byte(at) and data:byte(at) > 0 do
      for octet in data:sub(at + 1, at + data:byte(at)):gmatch("[%z\1-\255]") do
        text = text .. (octet:find("^[%w_-]$") and octet or ("\\%03d"):format(octet:byte()))
      end
      text, at = text .. ".", at + 1 + data:byte(at)
    end
    return text == "" and "." or text
  end
  local spelt = {
    [1] = function(data) return ("%d.%d.%d.%d"):format(data:byte(1, 4)) end,
    [28] = function(data) return (("%02x%02x:"):rep(8):sub(1, -2)):format(data:byte(1, 16)) end,
    [2] = function(data) return name_of(data, 1) end,
    [5] = function(data) return name_of(data, 1) end,
    [12] = function(data) return name_of(data, 1) end,
    [15] = function(data) return ("%d %s"):format(data:byte(1) * 256 + data:byte(2), name_of(data, 3)) end,
    [16] = function(data)
      local parts, at = {}, 1
      while at <= #data do
        local text = data:sub(at + 1, at + data:byte(at)):gsub("[^%w ]", function(octet) return ("\\%03d"):format(octet:byte()) end)
        parts[#parts + 1], at = '"' .. text .. '"', at + 1 + data:byte(at)
      end
      return table.concat(parts, " ")
    end,
  }
  local function add(query, kind, ttl, content, place)
    if content then C.pdns_ffi_param_add_record(query, nil, kind, ttl, content, #content, place) end
  end
  -- Answers of our own are never in the packet cache, and asked for under a tag that nothing in it has.
  local function set_apart(query, tag)
    C.pdns_ffi_param_set_tag(query, tag)
    C.pdns_ffi_param_set_variable(query, true)
  end
  function gettag_ffi(query)
    checkpoint = checkpoint or M.open(options)
    C.pdns_ffi_param_get_remote_raw(query, pointer, size)
    C.pdns_ffi_param_get_qname_raw(query, name, long)
    local high, low = address(ffi.string(pointer[0], size[0]))
    local outcome, answer = checkpoint:judge(high, low, ffi.string(name[0], long[0]), C.pdns_ffi_param_get_qtype(query), false)
    if outcome == "pass" then return end
    if outcome == "silence" then return set_apart(query, SILENT) end
    if outcome == "answer" and answer.tc and answer.kind ~= CHASE then
      return set_apart(query, answer.kind == TCP_ONLY and TCP_ALONE or TRUNCATED)
    end
    if outcome == "answer" and answer.kind == CHASE then answer = checkpoint:chase(answer) end
    set_apart(query, ANSWERED)
    if outcome == "refuse" then return C.pdns_ffi_param_set_rcode(query, 2) end
    C.pdns_ffi_param_set_rcode(query, answer.rcode)
    if answer.chase then C.pdns_ffi_param_set_follow_cname_records(query, true) end
    for _, record in ipairs(answer.records) do
      add(query, record[1], record[2], spelt[record[1]] and spelt[record[1]](record[3]), 1)
    end
    if answer.soa then add(query, 6, answer.soa, ". . 1 3600 600 86400 " .. answer.soa, 2) end
    if answer.ede then
      C.pdns_ffi_param_set_extended_error_code(query, answer.ede)
      C.pdns_ffi_param_set_extended_error_extra(query, #answer.text, answer.text)
    end
  end
  function preresolve(dq)
    local kind = dq.tag == SILENT and pdns.policykinds.Drop
      or dq.tag == TRUNCATED and (dq.isTcp and pdns.policykinds.Drop or pdns.policykinds.Truncate)
      or dq.tag == TCP_ALONE and not dq.isTcp and pdns.policykinds.Truncate
    if not kind then return false end
    dq.appliedPolicy.policyKind = kind
    return true
  end
end

-- Knot Resolver 5.6 and later: a policy for all queries, before its cache.
function M.knot(options)
  options.log = options.log or function(sentence) log_warn(ffi.C.LOG_GRP_MODULE, sentence) end
  local checkpoint
  local function octets_of(from)
    local family = ffi.cast("const uint16_t *", from)[0]
    return ffi.string(ffi.cast("const char *", from) + (family == 2 and 4 or 8), family == 2 and 4 or 16)
  end
  local function answer_of(req)
    req.answ_selected.len, req.auth_selected.len, req.add_selected.len = 0, 0, 0
    local packet = req:ensure_answer()
    if packet == nil then return nil end
    packet:clear_payload()
    req:ensure_edns()
    packet:ad(false)
    return packet
  end
  local function silence(req)
    req.options.NO_ANSWER = true
    return kres.FAIL
  end
  policy.add(function(req, query)
    if req.qsource.addr == nil then return nil end -- its own question
    checkpoint = checkpoint or M.open(options)
    local high, low = address(octets_of(req.qsource.addr))
    local stream = req.qsource.flags.tcp or req.qsource.flags.tls or req.qsource.flags.http
    local outcome, answer = checkpoint:judge(high, low, query:name(), query.stype, stream)
    if outcome == "pass" then return nil end
    return function(state)
      if outcome == "silence" then return silence(req) end
      local packet = answer_of(req)
      if packet == nil then return nil end
      packet:rcode(outcome == "refuse" and 2 or answer.rcode)
      if outcome == "refuse" then return kres.DONE end
      if answer.tc then packet:tc(true) end
      if #answer.records > 0 then packet:begin(kres.section.ANSWER) end
      for _, record in ipairs(answer.records) do packet:put(packet:qname(), record[2], kres.class.IN, record[1], record[3]) end
      if answer.soa then
        packet:begin(kres.section.AUTHORITY)
        packet:put(packet:qname(), answer.soa, kres.class.IN, kres.type.SOA, soa_of(answer.soa))
      end
      if answer.ede then req:set_extended_error(answer.ede, answer.text) end
      return kres.DONE
    end
  end)
end

return M
