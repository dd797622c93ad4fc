/** The page of browser.js: graphs on onnxruntime-web, arrays by files that the worker has. */
import { laid, tensors } from "./arrays.js";

/** @type {import("onnxruntime-common")} */
const ort = await import(/** @type {any} */ ("/ort.wasm.min.mjs"));
/** @type {Map<number, import("onnxruntime-common").InferenceSession>} */
const sessions = new Map();

Object.assign(globalThis, {
  matrix: {
    /** @param {number} threads @returns the version */
    start(threads) {
      ort.env.logLevel = "fatal";
      if (threads) ort.env.wasm.numThreads = threads;
      return ort.env.versions.web;
    },
    /**
     * @param {number} graph
     * @param {string} address
     * @param {{path: string, data: string}[]} externalData
     */
    async open(graph, address, externalData) {
      const session = await ort.InferenceSession.create(address, {
        executionProviders: ["wasm"],
        externalData,
      });
      sessions.set(graph, session);
    },
    /**
     * @param {number} graph
     * @param {import("./arrays.js").Described[]} described
     */
    async run(graph, described) {
      const bytes = new Uint8Array(await (await fetch("/in.bin")).arrayBuffer());
      const found = await sessions.get(graph)?.run(tensors(ort, bytes, described));
      const made = laid(/** @type {any} */ (found));
      const put = await fetch("/out.bin", { method: "PUT", body: /** @type {any} */ (made.bytes) });
      if (!put.ok) throw new Error(await put.text());
      return { arrays: made.arrays };
    },
    /** @param {number} graph */
    async close(graph) {
      await sessions.get(graph)?.release();
      sessions.delete(graph);
      return {};
    },
  },
});
