/**
 * The page in a real browser: a clip in, Python's tokens out, no error in the console.
 * VAMPNET_ONNX_WEB_SET as of vary.test.js; VAMPNET_ONNX_WEB_SHOTS is a folder for pictures.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { opened } from "../matrix/chromium.js";

const { VAMPNET_ONNX_WEB_SET: SET = "", VAMPNET_ONNX_WEB_SHOTS: SHOTS } = process.env;
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const skip = existsSync(CHROMIUM) ? false : `${CHROMIUM} is not there: apt-get install chromium`;
/** An adapter in software, which is slow, but computes what others do. */
const SOFTWARE_GPU = [
  "--enable-unsafe-webgpu",
  "--enable-features=Vulkan",
  "--use-vulkan=swiftshader",
  "--use-webgpu-adapter=swiftshader",
];

/** Serve the set's version; gives the address, and what ends it. */
async function served() {
  const ort = fileURLToPath(new URL("../node_modules/onnxruntime-web", import.meta.url));
  const options = ["--port", "0", "--ort-web", ort];
  const program = spawn("vampnet-onnx", ["serve", join(SET, "v1"), ...options], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  /** @type {string} */
  const address = await new Promise((resolve, reject) => {
    program.on("error", reject);
    program.on("exit", () => reject(new Error("serve ended")));
    program.stdout.on("data", (chunk) => resolve(String(chunk).trim()));
  });
  return { address, end: () => program.removeAllListeners("exit").kill() };
}

/**
 * Open the browser with a page, and wait for what comes true there.
 * @param {string[]} [graphics]
 */
async function browsing(graphics) {
  const folder = await mkdtemp(join(tmpdir(), "chromium-"));
  const page = await opened(CHROMIUM, folder, graphics);
  const until = async (expression) => {
    for (let tries = 0; tries < 1200; tries += 1) {
      if (await page.run(expression)) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const shown = await page.run("document.body.innerText");
    throw new Error(`${expression} did not come: ${shown}\n${page.problems}`);
  };
  const close = async () => {
    await page.close();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  return { ...page, until, close };
}

const READY = "document.body?.dataset.ready";
const DONE = "Boolean(globalThis.made) && !document.getElementById('go').disabled";

/**
 * Give a page a clip, and have it make a variation.
 * @param {{ask: Function, run: Function, until: Function}} browser
 */
async function vary({ ask, run, until }, address, clip) {
  await ask("Page.navigate", { url: "about:blank" });
  await ask("Page.navigate", { url: address });
  await until(READY);
  assert.equal(await run("document.getElementById('problem').textContent"), "");
  const { root } = await ask("DOM.getDocument");
  const { nodeId } = await ask("DOM.querySelector", { nodeId: root.nodeId, selector: "#file" });
  await ask("DOM.setFileInputFiles", { nodeId, files: [join(SET, clip)] });
  await until("document.getElementById('go').disabled === false");
  await run("document.getElementById('go').click()");
  await until(DONE);
  assert.equal(await run("document.getElementById('problem').textContent"), "");
}

test("a clip in, Python's tokens out", { skip }, async () => {
  const cases = JSON.parse(await readFile(join(SET, "cases.json"), "utf8"));
  const { address: page, end } = await served();
  const browser = await browsing();
  const { ask, run, until, close, problems } = browser;
  const shot = async (name, width, dark) => {
    if (!SHOTS) return;
    const features = [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }];
    await ask("Emulation.setEmulatedMedia", { features });
    const size = { width, height: 900, deviceScaleFactor: 1, mobile: false };
    await ask("Emulation.setDeviceMetricsOverride", size);
    await new Promise((resolve) => setTimeout(resolve, 700));
    const { data } = await ask("Page.captureScreenshot", { captureBeyondViewport: true });
    await writeFile(join(SHOTS, `${name}-${width}-${dark ? "dark" : "light"}.png`), data, "base64");
    const wide = await run("document.documentElement.scrollWidth");
    assert(wide <= width, `${name}: ${wide} px wide at ${width}`);
  };
  try {
    for (const name of ["plain", "seed", "largest-seed", "mask"]) {
      const { clip, options, codes } = cases.find((one) => one.name === name);
      const { output_loudness: _, ...plain } = options;
      await vary(browser, `${page}demo/index.html#${new URLSearchParams(plain)}`, clip);
      assert.deepEqual(await run("[...made.tokens[0].data]"), codes.data);
      const address = new URLSearchParams((await run("location.hash")).slice(1));
      assert.equal(address.get("seed"), String(options.seed));
      assert.match(address.get("version") ?? "", /^[0-9a-f]{64}$/);
      if (name === "plain") {
        for (const width of [400, 1600]) for (const dark of [false, true]) await shot("made", width, dark);
      }
    }
    assert.equal(await run("crossOriginIsolated"), true);
    assert.match(await run("document.getElementById('version').textContent"), /WebAssembly on (one|\d) thread/);
    assert.deepEqual(problems, []);

    await run("document.getElementById('option-seed').value = '-3'");
    await run("document.getElementById('go').click()");
    await until("!document.getElementById('problem').hidden");
    assert.match(await run("document.getElementById('problem').textContent"), /^seed = -3 is not/);
    await run("document.getElementById('option-seed').value = '1'; delete globalThis.made");
    await run("document.getElementById('go').click()");
    await until(DONE);
    assert.equal(await run("document.getElementById('problem').hidden"), true);

    await run("document.getElementById('option-sampling_steps').value = '900'");
    await run("document.getElementById('go').click()");
    await until("document.getElementById('doing').textContent.startsWith('coarse')");
    await run("document.getElementById('stop').click()");
    await until("document.getElementById('doing').textContent === 'Stopped.'");
    assert.deepEqual(problems, []);
  } finally {
    end();
    await close();
  }
});

test("the transformers on WebGPU, said on the page, with the tokens of WebAssembly", { skip }, async () => {
  const { clip } = JSON.parse(await readFile(join(SET, "cases.json"), "utf8"))[0];
  const { address: page, end } = await served();
  const browser = await browsing(SOFTWARE_GPU);
  const { run, close, problems } = browser;
  const text = (id) => run(`document.getElementById('${id}').textContent`);
  const made = async (search) => {
    const options = "seed=5&sampling_steps=2&coarse_only=true";
    await vary(browser, `${page}demo/index.html${search}#${options}`, clip);
    return {
      tokens: await run("[...made.tokens[0].data]"),
      where: await text("version"),
      other: await text("elsewhere"),
      search: await run("location.search"),
    };
  };
  try {
    const software = await made("");
    assert.doesNotMatch(software.where, /WebGPU/); // an adapter in software is not taken unasked
    assert.match(software.other, /^Use WebGPU \(.*in software\)$/);
    assert.equal(software.search, "?on=wasm");
    const gpu = await made("?on=webgpu");
    assert.match(gpu.where, /coarse and c2f on WebGPU \(.*swiftshader/);
    assert.equal(gpu.search, "?on=webgpu");
    assert.deepEqual(gpu.tokens, software.tokens);
    assert.deepEqual(problems, []);
  } finally {
    end();
    await close();
  }
  const plain = await browsing();
  const again = await served();
  try {
    await plain.ask("Page.navigate", { url: `${again.address}demo/index.html?on=webgpu` });
    await plain.until("document.body?.dataset.ready === 'true'");
    assert.match(await plain.run("document.getElementById('problem').textContent"), /has no adapter/);
    assert.equal(await plain.run("document.getElementById('elsewhere').hidden"), true);
  } finally {
    again.end();
    await plain.close();
  }
});
