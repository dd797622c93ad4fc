/** Components opened when first needed, and run on plain numbers and arrays. */
import { InputError, said } from "./errors.js";

/**
 * @typedef {import("onnxruntime-common")} Ort what onnxruntime-web and onnxruntime-node give
 * @typedef {import("onnxruntime-common").InferenceSession} Session
 * @typedef {import("onnxruntime-common").InferenceSession.SessionOptions} SessionOptions
 * @typedef {import("./version.js").Signature} Signature
 * @typedef {Int32Array | Float32Array | BigInt64Array} Numbers
 * @typedef {{data: Numbers, dims: readonly number[]}} Values
 * @typedef {number | boolean | bigint | Values} Given
 */

/** Sessions of one version. */
export class Sessions {
  #version;
  #ort;
  #options;
  #generatorOptions;
  /** @type {Map<string, Promise<Session>>} */ #open = new Map();

  /**
   * @param {import("./version.js").Version} version
   * @param {Ort} ort
   * @param {SessionOptions} options
   * @param {SessionOptions} generatorOptions of the generators, in place of those
   */
  constructor(version, ort, options, generatorOptions) {
    this.#version = version;
    this.#ort = ort;
    this.#options = options;
    this.#generatorOptions = generatorOptions;
  }

  /**
   * Open a component, if it is not open yet.
   * @param {string} id
   * @param {AbortSignal} [signal]
   * @throws {InputError} it is missing, changed, or nothing that this runtime loads
   */
  async open(id, signal) {
    let opening = this.#open.get(id);
    if (!opening) {
      opening = this.#opened(id, signal);
      this.#open.set(id, opening);
      opening.catch(() => this.#open.delete(id)); // it may be asked for again
    }
    return opening;
  }

  /**
   * Run a component.
   * @param {string} id
   * @param {Record<string, Given>} given by the names of its inputs
   * @param {string[]} wanted names of outputs
   * @param {AbortSignal} [signal]
   * @returns {Promise<Record<string, Values>>}
   */
  async run(id, given, wanted, signal) {
    signal?.throwIfAborted();
    const session = await this.open(id, signal);
    const inputs = this.#version.component(id).inputs.map((item) => {
      const value = given[item.name];
      if (value === undefined) {
        throw new InputError(
          `${this.#version.where}: ${id} takes ${item.name}, which this module does not know;` +
            " take the module of the version that exported it",
        );
      }
      return [item.name, this.#tensor(item, value)];
    });
    const made = await session.run(Object.fromEntries(inputs), wanted);
    return Object.fromEntries(
      wanted.map((name) => [
        name,
        { data: /** @type {Numbers} */ (made[name].data), dims: made[name].dims },
      ]),
    );
  }

  /** Let all sessions go. */
  async close() {
    const open = [...this.#open.values()];
    this.#open.clear();
    for (const session of await Promise.allSettled(open)) {
      if (session.status === "fulfilled") await session.value.release();
    }
  }

  /**
   * @param {string} id
   * @param {AbortSignal} [signal]
   */
  async #opened(id, signal) {
    const { file, data } = this.#version.component(id);
    const [graph, outside] = await Promise.all([
      this.#version.file(file, signal),
      data ? this.#version.file(data, signal) : null,
    ]);
    const externalData = data && outside ? [{ path: data.name, data: outside }] : [];
    const options = id.endsWith(".generator") ? this.#generatorOptions : this.#options;
    try {
      return await this.#ort.InferenceSession.create(graph, { ...options, externalData });
    } catch (error) {
      throw new InputError(
        `${id}: this runtime cannot load ${file.name} (${said(error)}); ONNX Runtime 1.22 or newer` +
          " is needed",
      );
    }
  }

  /**
   * @param {Signature} item
   * @param {Given} value
   */
  #tensor(item, value) {
    const { data, dims } =
      typeof value === "object" ? value : { data: [value], dims: /** @type {number[]} */ ([]) };
    const Tensor = this.#ort.Tensor;
    const numbers = () => Array.from(/** @type {ArrayLike<any>} */ (data));
    switch (item.dtype) {
      case "int64":
        return new Tensor("int64", BigInt64Array.from(numbers(), BigInt), dims);
      case "uint64":
        return new Tensor("uint64", BigUint64Array.from(numbers(), BigInt), dims);
      case "float32":
        return new Tensor(
          "float32",
          data instanceof Float32Array ? data : Float32Array.from(numbers()),
          dims,
        );
      case "float64":
        return new Tensor("float64", Float64Array.from(numbers()), dims);
      case "bool":
        return new Tensor("bool", Uint8Array.from(numbers(), Number), dims);
      default:
        throw new InputError(`${item.name} is of ${item.dtype}, which this module does not know`);
    }
  }
}
