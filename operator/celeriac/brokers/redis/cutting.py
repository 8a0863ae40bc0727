"""Lua that takes out of JSON what is long: a body may have 60 MiB, and what is known of a message stands beside it."""

from typing import Final

LONG: Final = 1024
"""Bytes of a string that is read at all: ids, names and routes are shorter."""

# cut(text, mark, long, longest) gives the text with a mark in place of each string of more than `long` bytes, and of
# each under "body" whatever its length; and where those began, counted from 0, with their lengths. Nothing, where it
# would be longer than `longest`.
#
# A string ends at the first quote that has an even number of backslashes before it. Searches of Lua's own library are
# several times as fast as a loop over all escaped quotes: a body that is JSON in JSON has millions of them.
CUTTING: Final = r"""
local find, sub, byte = string.find, string.sub, string.byte
local function closing(text, at)
  local quote = find(text, '"', at, true)
  if not quote or byte(text, quote - 1) ~= 92 then return quote end
  local plain = find(text, '[^\\]"', at)
  local piece = plain and sub(text, at, plain + 1) or sub(text, at)
  local pair = find(piece, '\\\\"', 1, true)
  while pair do
    local first = pair
    while first > 1 and byte(piece, first - 1) == 92 do first = first - 1 end
    if (pair - first) % 2 == 0 then return at + pair + 1 end
    pair = find(piece, '\\\\"', pair + 3, true)
  end
  return plain and plain + 1
end
local function cut(text, mark, long, longest)
  local parts, cuts, size, from, at, is_body = {}, {}, 0, 1, 1, false
  while true do
    local open = find(text, '"', at, true)
    if open and size + open - from > longest then return nil end
    local close = open and closing(text, open + 1)
    if not close then break end
    local length = close - open - 1
    if length > long or is_body and length > 0 then
      local part = sub(text, from, open) .. mark .. #parts .. '.'
      parts[#parts + 1] = part
      cuts[#cuts + 1] = open
      cuts[#cuts + 1] = length
      size, from = size + #part, close
    end
    is_body = length == 4 and find(text, '^body"%s*:%s*"', open + 1) ~= nil
    at = close + 1
  end
  if size + #text - from >= longest then return nil end
  parts[#parts + 1] = sub(text, from)
  return table.concat(parts), cuts
end
"""
