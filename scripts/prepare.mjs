/**
 * Make a checkout ready to run: install dependencies when they are missing or older than the lock file, and build `dist/` when it is
 * missing or older than its sources. Plain Node, because it runs before anything is installed.
 */
import { spawnSync } from "node:child_process";
import { existsSync, lstatSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

const required = [20, 19];
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < required[0] || (major === required[0] && minor < required[1])) {
  console.error(`tfserving needs Node ${required.join(".")} or newer, this is ${process.versions.node}`);
  process.exit(1);
}

const installed = join(root, "node_modules", ".package-lock.json");
// A link leads to what belongs to another checkout, which `npm ci` would empty.
if (!isLink(join(root, "node_modules")) && changedAt(installed) < changedAt(join(root, "package-lock.json"))) npm("ci");

const sources = Math.max(
  ...["src", "gen", "package.json", "tsconfig.json", "tsconfig.build.json", "scripts/build.mjs"].map((path) => newestIn(join(root, path))),
);
if (changedAt(join(root, "dist", "index.js")) < sources) npm("run", "build");

/** @param {string} path @returns {number} Time of last change in ms; 0 when it does not exist. */
function changedAt(path) {
  return existsSync(path) ? statSync(path).mtimeMs : 0;
}

/** @param {string} path */
function isLink(path) {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
}

/** @param {string} path @returns {number} Time of the newest file at or below a path. */
function newestIn(path) {
  if (!statSync(path).isDirectory()) return changedAt(path);
  return Math.max(0, ...readdirSync(path).map((name) => newestIn(join(path, name))));
}

/** Run npm with its output on stderr, so that a script's own output stays clean. @param {...string} args */
function npm(...args) {
  console.error(`> npm ${args.join(" ")}`);
  const { status, error } = spawnSync("npm", args, { cwd: root, stdio: ["ignore", 2, 2], shell: process.platform === "win32" });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}
