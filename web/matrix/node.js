/**
 * Runs graphs on onnxruntime-node, for the execution matrix.
 *
 *     node node.js FOLDER    FOLDER/node_modules has the package
 */
import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";

import { laid, tensors } from "./arrays.js";
import { INPUTS, OUTPUTS, serve } from "./requests.js";

/** @type {import("onnxruntime-common")} */
let ort;
/** @type {Map<number, import("onnxruntime-common").InferenceSession>} */
const sessions = new Map();
let folder = "";
let intraOpNumThreads = 0;

await serve({
  async start(request) {
    ({ folder, threads: intraOpNumThreads } = request);
    try {
      ort = createRequire(join(process.argv[2], "package.json"))("onnxruntime-node");
    } catch (error) {
      return { lacks: String(error).split("\n")[0] };
    }
    const version = ort.env.versions.node;
    return { what: `onnxruntime-node ${version}, Node ${process.version}`, version };
  },
  async open({ graph, path }) {
    const threads = intraOpNumThreads ? { intraOpNumThreads } : {};
    const options = { ...threads, logSeverityLevel: /** @type {4} */ (4) };
    sessions.set(graph, await ort.InferenceSession.create(path, options));
    return {};
  },
  async run({ graph, arrays }) {
    const session = sessions.get(graph);
    const inputs = tensors(ort, await readFile(join(folder, INPUTS)), arrays);
    const made = laid(/** @type {any} */ (await session?.run(inputs)));
    await writeFile(join(folder, OUTPUTS), made.bytes);
    return { arrays: made.arrays };
  },
  async close({ graph }) {
    await sessions.get(graph)?.release();
    sessions.delete(graph);
    return {};
  },
});
