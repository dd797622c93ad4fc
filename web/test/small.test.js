/** What needs no runtime: noise, windows, loudness and files. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { rateOfFlac, readWav, writeWav } from "../src/audio-file.js";
import { loudnessOf } from "../src/loudness.js";
import { MaskNoise } from "../src/philox.js";
import { windowsOf } from "../src/windows.js";

test("windows cover all frames once, one or an even number of them", () => {
  for (const frames of [1, 71, 72, 100, 180, 500]) {
    const windows = windowsOf(frames, 2);
    assert(windows.length === 1 || windows.length % 2 === 0);
    assert.deepEqual(
      windows.map(({ start }) => start),
      [0, ...windows.map(({ stop }) => stop).slice(0, -1)],
    );
    assert.equal(windows.at(-1)?.stop, frames);
    for (const { from, start, stop, to } of windows) {
      assert.equal(from, Math.max(0, start - 2));
      assert.equal(to, Math.min(frames, stop + 2));
    }
  }
});

test("loudness is what Python measures of a sine at 997 Hz, and -70 of silence", () => {
  const sine = Float32Array.from({ length: 96000 }, (_, at) => Math.sin((2 * Math.PI * 997 * at) / 48000));
  assert(Math.abs(loudnessOf(sine, 48000) + 3.0516717) < 1e-5);
  assert.equal(loudnessOf(new Float32Array(8000), 8000), -70);
});

test("WAV files are what was written", () => {
  const channels = [Float32Array.of(0, 0.5, -1), Float32Array.of(0.25, 2 ** -23, 1 - 2 ** -23)];
  const bytes = writeWav(channels, 44100);
  assert.deepEqual(readWav(bytes), { channels, rate: 44100 });
  assert.throws(() => readWav(bytes.subarray(0, 40)), /no audio/);
  assert.throws(() => readWav(new Uint8Array(100)), /no WAV file/);
});

test("a FLAC file says its rate", () => {
  const bytes = new Uint8Array(30);
  bytes.set(new TextEncoder().encode("fLaC"));
  bytes.set([0x0a, 0xc4, 0x40], 18); // 44100 << 4
  assert.equal(rateOfFlac(bytes), 44100);
  assert.equal(rateOfFlac(new Uint8Array(30)), 0);
});

test("words of two numbers of a seed go on in one stream", () => {
  const whole = new MaskNoise(7n).uniform(11);
  const noise = new MaskNoise(7n);
  assert.deepEqual([...noise.uniform(5), ...noise.uniform(6)], [...whole]);
});
