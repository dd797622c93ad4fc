/**
 * Python's tokens and audio, made again under Node.  VAMPNET_ONNX_WEB_SET names the folder that
 * tests/web/make_set.py made.
 */
import assert from "node:assert/strict";
import { readFile, cp, mkdtemp, writeFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import * as ort from "onnxruntime-node";
import { readWav } from "../src/audio-file.js";
import { open } from "../src/index.js";

const SET = process.env.VAMPNET_ONNX_WEB_SET;
assert(SET, "VAMPNET_ONNX_WEB_SET names the folder that tests/web/make_set.py made");
const VERSION = join(SET, "v1");
const cases = JSON.parse(await readFile(join(SET, "cases.json"), "utf8"));
const sessionOptions = { intraOpNumThreads: 1 };
const player = await open(VERSION, ort, { sessionOptions });

/** @param {string} name */
const wav = async (name) => readWav(await readFile(join(SET, name)));

/** @param {any} one @param {any} other */
const largest = (one, other) => {
  assert.equal(one.length, other.length);
  return one.reduce((most, value, at) => Math.max(most, Math.abs(value - other[at])), 0);
};

for (const { name, clip, options, pieces, input_codes, mask, codes } of cases) {
  test(`Python's tokens and audio: ${name}`, async () => {
    const { channels, rate } = await wav(clip);
    const steps = [];
    const made = await player.vary(channels, rate, {
      ...options,
      progress: (...step) => steps.push(step),
    });
    assert.deepEqual([made.codes.dims, [...made.codes.data]], [input_codes.dims, input_codes.data]);
    assert.deepEqual([made.mask.dims, [...made.mask.data]], [mask.dims, mask.data]);
    assert.equal(made.seed, String(options.seed));
    assert.deepEqual(
      made.tokens.flatMap((piece) => [...piece.data]),
      codes.data,
    );
    assert.deepEqual([made.tokens.length, ...made.tokens[0].dims], codes.dims);
    assert(codes.data.some((code, at) => code !== input_codes.data[at % input_codes.data.length]));
    for (let piece = 0; piece < pieces; piece += 1) {
      const heard = await wav(pieces > 1 ? `${name}-${piece + 1}.wav` : `${name}.wav`);
      assert.equal(heard.rate, made.sampleRate);
      made.audio[piece].forEach((channel, i) =>
        assert(largest(channel, heard.channels[i]) < 1e-4, "the audio differs"),
      );
    }
    const last = steps.findLast(([what]) => what === "coarse");
    assert.equal(last[1], last[2]);
  });
}

test("codes alone, there and back", async () => {
  const { channels, rate } = await wav("own.wav");
  const codes = await player.encode(channels[0], rate);
  assert.deepEqual([...codes.data], cases[0].input_codes.data);
  const [audio] = await player.decode(codes);
  assert.equal(audio.length, codes.dims[2] * player.codec.hopLength);
  await assert.rejects(player.decode({ ...codes, data: codes.data.map(() => 1 << 20) }), /codes must be/);
});

test("a run stops where it is asked to, and the player goes on", async () => {
  const { channels, rate } = await wav("own.wav");
  const stopping = new AbortController();
  let seen = 0;
  const progress = (name) => {
    if (name === "coarse" && ++seen === 2) stopping.abort();
  };
  await assert.rejects(player.vary(channels, rate, { progress, signal: stopping.signal }), {
    name: "AbortError",
  });
  assert.equal(seen, 2);
  assert.deepEqual([...(await player.vary(channels, rate)).tokens[0].data], cases[0].codes.data);
});

const refused = {
  "a rate without a processor": [[0.1, 0.2], 12345, {}, /12345 Hz, and these artifacts take/],
  "samples that are not finite": [[0.1, NaN], 0, {}, /NaN or infinite/],
  silence: [[0, 0], 0, {}, /is silent/],
  "too few samples": ["few", 0, {}, /one frame at least/],
  "a seed out of range": [[0.1, 0.2], 0, { seed: 1n << 64n }, /seed = 18446744073709551616 is not/],
  "a seed that a number cannot hold": [[0.1], 0, { seed: 2 ** 60 }, /as a BigInt or as text/],
  "a seed that is none": [[0.1], 0, { seed: "many" }, /seed = many/],
  "an option that is not known": [[0.1], 0, { tempo: 3 }, /unknown option tempo; known: /],
  "an option out of range": [[0.1], 0, { dropout: 2 }, /dropout = 2 is not a number from 0 to 1/],
  "a prefix beyond the clip": [[0.1, 0.2], 0, { prefix_s: 60 }, /make them shorter/],
  "an option without effect": [[0.1], 0, { top_k: 3 }, /mode corrected/],
};
for (const [name, [wave, rate, options, message]] of Object.entries(refused)) {
  test(`refused in a sentence: ${name}`, async () => {
    const values = wave === "few" ? [0.1] : Array(4000).fill(wave).flat();
    const samples = Float32Array.from(values);
    const run = player.vary(samples, rate || player.codec.sampleRate, options);
    await assert.rejects(run, (error) => {
      assert.match(error.message, message);
      assert.equal(error.name, "InputError");
      return true;
    });
  });
}

test("artifacts that are not what they should be are refused by name", async () => {
  const folder = await mkdtemp(join(tmpdir(), "web-"));
  const manifest = JSON.parse(await readFile(join(VERSION, "manifest.json"), "utf8"));
  const { channels, rate } = await wav("own.wav");
  const told = async (changed) => {
    await writeFile(join(folder, "manifest.json"), JSON.stringify({ ...manifest, ...changed }));
    const other = await open(folder, ort, { sessionOptions });
    await other.vary(channels, rate).finally(() => other.close());
  };
  try {
    await assert.rejects(open(folder, ort), /manifest.json cannot be read/);
    await cp(VERSION, folder, { recursive: true });
    await assert.rejects(told({ schema_version: 2 }), /is of schema 2, and this reads schema 1/);
    const components = manifest.components.filter(({ variant }) => variant !== "generator");
    await assert.rejects(told({ components }), /holds no coarse\.generator; export it: .*--generator/);
    await told({});
    const name = "coarse.generator.onnx";
    const content = await readFile(join(folder, name));
    await writeFile(join(folder, name), Buffer.concat([content, Buffer.from("x")]));
    await assert.rejects(told({}), /coarse\.generator\.onnx is not the file that manifest\.json names/);
    await rm(join(folder, name));
    await assert.rejects(told({}), /coarse\.generator\.onnx cannot be read/);
  } finally {
    await rm(folder, { recursive: true });
  }
});
