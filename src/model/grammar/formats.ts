/** Formats of JSON Schema that are regular, as patterns. Others are annotations, as the standard has them. */
const [hour, minute] = ["([01][0-9]|2[0-3])", "[0-5][0-9]"];
const date = "[0-9]{4}-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)";
const time = `${hour}:${minute}:${minute}(\\.[0-9]{1,6})?(Z|[+-]${hour}:${minute})`;
const octet = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
const label = "[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?";

export const formatPatterns: ReadonlyMap<string, string> = new Map([
  ["date", `^${date}$`],
  ["time", `^${time}$`],
  ["date-time", `^${date}T${time}$`],
  ["duration", "^P([0-9]{1,6}[YMWD]|T[0-9]{1,6}[HMS])$"],
  ["uuid", "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"],
  ["ipv4", `^${octet}(\\.${octet}){3}$`],
  ["ipv6", "^[0-9a-f]{1,4}(:[0-9a-f]{1,4}){7}$"],
  ["hostname", `^${label}(\\.${label}){0,4}$`],
  ["email", `^[a-z0-9]([a-z0-9_.+-]{0,30}[a-z0-9])?@${label}(\\.${label}){1,3}$`],
]);
