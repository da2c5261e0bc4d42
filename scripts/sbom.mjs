// Writes sbom.cdx.json: a CycloneDX bill of materials of every package that runs, with versions, licences and hashes, out of package-lock.json.
// `npm run sbom -- --all` takes those in that only build and test.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

const omit = process.argv.includes("--all") ? [] : ["--omit", "dev"];
const text = execFileSync("npm", ["sbom", "--sbom-format", "cyclonedx", "--package-lock-only", ...omit], { encoding: "utf8", maxBuffer: 64 << 20 });
const bom = JSON.parse(text);
const { name, version } = JSON.parse(readFileSync("package.json", "utf8"));
// npm takes the directory's name, and the time would make every run another file.
Object.assign(bom.metadata.component, { name, version, type: "application" });
delete bom.metadata.timestamp;
delete bom.serialNumber;
writeFileSync("sbom.cdx.json", `${JSON.stringify(bom, undefined, 2)}\n`);
console.log(`sbom.cdx.json: ${bom.components.length} packages`);
