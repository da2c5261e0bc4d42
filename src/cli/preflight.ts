/** The machine's checks before anything is installed. */
import { type Finding, runChecks } from "../checks/check.js";
import { machineChecks } from "../checks/machine-checks.js";
import { type MachineLookOptions, lookAtMachine } from "../daemon/doctor/machine-look.js";

export async function preflight(options: MachineLookOptions): Promise<Finding[]> {
  return runChecks(machineChecks, await lookAtMachine(options));
}
