"""Lua that takes out of JSON what is long: a body may have 60 MiB, and what is known of a message stands beside it."""

from typing import Final

LONG: Final = 1024
"""Bytes of a string that is read at all: ids, names and routes are shorter."""

# cut(text, mark, long, longest) gives the text with a mark in place of each string of more than `long` bytes, and of
# what tells a task's arguments whatever its length; and where those began, counted from 0, with their lengths. Nothing,
# where it would be longer than `longest`.
#
# A string ends at the first quote that has an even number of backslashes before it: none, two, or, once each pair of
# them is out of the way, more. A loop over all quotes takes 4 s where a body of 60 MiB is JSON in JSON; each of these
# searches takes 0.6 s.
CUTTING: Final = r"""
local find, sub, byte = string.find, string.sub, string.byte
local function closing(text, at)
  local quote = find(text, '"', at, true)
  if not quote or byte(text, quote - 1) ~= 92 then return quote end
  local plain = find(text, '[^\\]"', at)
  local piece = plain and sub(text, at, plain + 1) or sub(text, at)
  if not find(piece, '\\\\"', 1, true) then return plain and plain + 1 end
  if not find(piece, '\\\\\\\\"', 1, true) then
    local two = sub(piece, 1, 3) == '\\\\"' and 0 or find(piece, '[^\\]\\\\"')
    return two and at + two + 2 or plain and plain + 1
  end
  local last = find(string.gsub(piece, '\\\\', '..'), '[^\\]"')
  return last and at + last
end
local arguments = {body = true, argsrepr = true, kwargsrepr = true}
local function cut(text, mark, long, longest)
  local parts, cuts, size, from, at, tells = {}, {}, 0, 1, 1, false
  while true do
    local open = find(text, '"', at, true)
    if open and size + open - from > longest then return nil end
    local close = open and closing(text, open + 1)
    if not close then break end
    local length = close - open - 1
    if length > long or tells and length > 0 then
      local part = sub(text, from, open) .. mark .. #parts .. '.'
      parts[#parts + 1] = part
      cuts[#cuts + 1] = open
      cuts[#cuts + 1] = length
      size, from = size + #part, close
    end
    tells = length <= 10 and arguments[sub(text, open + 1, close - 1)] and find(text, '^"%s*:%s*"', close) ~= nil
    at = close + 1
  end
  if size + #text - from >= longest then return nil end
  parts[#parts + 1] = sub(text, from)
  return table.concat(parts), cuts
end
"""
