-- What Argo CD makes of a CeleryWorkerPool: its three conditions, by the rules that kstatus has (docs/status.md).
local health = {status = "Progressing", message = "no operator has seen the pool yet"}

if obj.metadata.deletionTimestamp ~= nil then
  health.message = "the pool is being deleted"
  return health
end

local status = obj.status
if status == nil or status.conditions == nil then
  return health
end

local told = {}
for _, condition in ipairs(status.conditions) do
  told[condition.type] = condition
end

local function is_true(type)
  return told[type] ~= nil and told[type].status == "True"
end

local function words(type)
  return told[type].reason .. ": " .. told[type].message
end

if status.observedGeneration ~= obj.metadata.generation then
  health.message = "the operator has not seen the latest change yet"
elseif is_true("Stalled") then
  health.status = "Degraded"
  health.message = words("Stalled")
elseif is_true("Reconciling") then
  health.message = words("Reconciling")
elseif is_true("Ready") then
  health.status = "Healthy"
  health.message = words("Ready")
elseif told.Ready ~= nil then
  health.message = words("Ready")
end
return health
