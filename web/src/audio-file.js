/** WAV files read and written, and the rates of FLAC files: at their own rate, whatever a browser's is. */
import { InputError } from "./errors.js";

const PCM = 1;
const FLOAT = 3;
const EXTENSIBLE = 0xfffe;

/**
 * @typedef {object} Audio
 * @property {Float32Array[]} channels
 * @property {number} rate Hz
 */

/**
 * Return whether a file is WAV.
 * @param {Uint8Array} bytes
 */
export function isWav(bytes) {
  return wordAt(bytes, 0) === "RIFF" && wordAt(bytes, 8) === "WAVE";
}

/**
 * Read a WAV file: PCM of 8 to 32 bits, or floats.
 * @param {Uint8Array} bytes
 * @returns {Audio}
 * @throws {InputError} it is none, or of another encoding
 */
export function readWav(bytes) {
  if (!isWav(bytes)) throw new InputError("this is no WAV file");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  /** @type {{format: number, channels: number, rate: number, bits: number} | undefined} */
  let form;
  for (let at = 12; at + 8 <= bytes.length; ) {
    const name = wordAt(bytes, at);
    const length = view.getUint32(at + 4, true);
    const start = at + 8;
    if (name === "fmt " && length >= 16 && start + length <= bytes.length) {
      const format = view.getUint16(start, true);
      form = {
        format: format === EXTENSIBLE && length >= 26 ? view.getUint16(start + 24, true) : format,
        channels: view.getUint16(start + 2, true),
        rate: view.getUint32(start + 4, true),
        bits: view.getUint16(start + 14, true),
      };
    } else if (name === "data") {
      if (!form) break;
      // What was written to a pipe promises more, or nothing: it is read to its end.
      const held = bytes.length - start;
      return samplesOf(view, form, start, length ? Math.min(length, held) : held);
    }
    at = start + length + (length % 2);
  }
  throw new InputError("this WAV file has no audio; it is damaged or was cut off");
}

/**
 * Write a WAV file of 24 bits.
 * @param {Float32Array[]} channels within [-1, 1]
 * @param {number} rate Hz
 */
export function writeWav(channels, rate) {
  const frame = 3 * channels.length;
  const size = channels[0].length * frame;
  const bytes = new Uint8Array(44 + size + (size % 2));
  const view = new DataView(bytes.buffer);
  const word = (/** @type {number} */ at, /** @type {string} */ text) =>
    bytes.set(new TextEncoder().encode(text), at);
  word(0, "RIFF");
  view.setUint32(4, bytes.length - 8, true);
  word(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, PCM, true);
  view.setUint16(22, channels.length, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, rate * frame, true);
  view.setUint16(32, frame, true);
  view.setUint16(34, 24, true);
  word(36, "data");
  view.setUint32(40, size, true);
  channels.forEach((channel, i) =>
    channel.forEach((value, at) => {
      const step = Math.max(-0x800000, Math.min(0x7fffff, Math.round(value * 0x800000)));
      const place = 44 + at * frame + 3 * i;
      view.setUint16(place, step & 0xffff, true);
      view.setInt8(place + 2, step >> 16);
    }),
  );
  return bytes;
}

/**
 * Return the rate of a FLAC file in Hz, or 0 if it is none.
 * @param {Uint8Array} bytes
 */
export function rateOfFlac(bytes) {
  // STREAMINFO is the first block; the rate has 20 bits there.
  if (wordAt(bytes, 0) !== "fLaC" || bytes.length < 21) return 0;
  return (bytes[18] << 12) | (bytes[19] << 4) | (bytes[20] >> 4);
}

/**
 * @param {DataView} view
 * @param {{format: number, channels: number, rate: number, bits: number}} form
 * @param {number} start
 * @param {number} length
 * @returns {Audio}
 */
function samplesOf(view, { format, channels, rate, bits }, start, length) {
  const width = bits / 8;
  const value = readerOf(view, format, bits);
  if (!value || !channels || !rate) {
    throw new InputError(`this WAV file is of encoding ${format} with ${bits} bits; PCM and floats are read`);
  }
  const frames = Math.floor(length / (width * channels));
  if (!frames) throw new InputError("this WAV file holds no samples; there is nothing to work on");
  return {
    rate,
    channels: Array.from({ length: channels }, (_, channel) =>
      Float32Array.from({ length: frames }, (_, at) => value(start + (at * channels + channel) * width)),
    ),
  };
}

/**
 * Return what reads a sample at an offset.
 * @param {DataView} view
 * @param {number} format
 * @param {number} bits
 * @returns {((at: number) => number) | undefined}
 */
function readerOf(view, format, bits) {
  if (format === FLOAT && bits === 32) return (at) => view.getFloat32(at, true);
  if (format === FLOAT && bits === 64) return (at) => view.getFloat64(at, true);
  if (format !== PCM) return undefined;
  if (bits === 8) return (at) => (view.getUint8(at) - 128) / 0x80;
  if (bits === 16) return (at) => view.getInt16(at, true) / 0x8000;
  if (bits === 24) {
    return (at) => (view.getInt8(at + 2) * 0x10000 + view.getUint16(at, true)) / 0x800000;
  }
  if (bits === 32) return (at) => view.getInt32(at, true) / 0x80000000;
  return undefined;
}

/**
 * @param {Uint8Array} bytes
 * @param {number} at
 */
function wordAt(bytes, at) {
  return String.fromCharCode(...bytes.subarray(at, at + 4));
}
