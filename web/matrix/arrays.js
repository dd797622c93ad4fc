/**
 * Arrays as they lie in a file, raw and one behind the other, and as tensors of ONNX Runtime; in
 * Node and in browsers.
 *
 * @typedef {import("onnxruntime-common")} Ort
 * @typedef {import("onnxruntime-common").Tensor} Tensor
 * @typedef {{name: string, dtype: string, shape: number[], offset: number}} Described
 */

/** What holds the numbers of each type; a half is kept as its bits. */
const KINDS = {
  bool: Uint8Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  uint64: BigUint64Array,
  float16: Uint16Array,
  float32: Float32Array,
  float64: Float64Array,
};

/**
 * Return tensors by name.
 * @param {Ort} ort
 * @param {Uint8Array} bytes
 * @param {Described[]} described
 * @returns {Record<string, Tensor>}
 */
export function tensors(ort, bytes, described) {
  const made = described.map(({ name, dtype, shape, offset }) => {
    const Kind = KINDS[/** @type {keyof typeof KINDS} */ (dtype)];
    if (!Kind) throw new Error(`${name} is of ${dtype}, which this worker does not know`);
    const count = shape.reduce((all, size) => all * size, 1);
    // A copy: numbers begin where their own size says.  (A slice of Node's buffers is none.)
    const first = bytes.byteOffset + offset;
    const own = bytes.buffer.slice(first, first + count * Kind.BYTES_PER_ELEMENT);
    const data = new Kind(/** @type {ArrayBuffer} */ (own), 0, count);
    return [name, new ort.Tensor(/** @type {any} */ (dtype), /** @type {any} */ (data), shape)];
  });
  return Object.fromEntries(made);
}

/**
 * Return tensors as bytes, and what describes them.
 * @param {Readonly<Record<string, Tensor>>} found
 * @returns {{bytes: Uint8Array, arrays: Described[]}}
 */
export function laid(found) {
  let offset = 0;
  const parts = Object.entries(found).map(([name, { type, dims, data }]) => {
    const { buffer, byteOffset, byteLength } = /** @type {Float32Array} */ (data);
    const item = { name, dtype: type, shape: [...dims], offset };
    offset += byteLength;
    return { item, part: new Uint8Array(buffer, byteOffset, byteLength) };
  });
  const bytes = new Uint8Array(offset);
  for (const { item, part } of parts) bytes.set(part, item.offset);
  return { bytes, arrays: parts.map(({ item }) => item) };
}
