/**
 * A version's folder: its manifest, and its files, none of which is used before its SHA-256 was
 * found to be what the manifest says.
 */
import { InputError, said } from "./errors.js";

const SCHEMA = 1;
const MANIFEST = "manifest.json";

/**
 * @typedef {{name: string, sha256: string, size: number}} FileRecord
 * @typedef {{name: string, dtype: string, shape: (number | string)[]}} Signature
 * @typedef {object} ComponentRecord
 * @property {string} name
 * @property {string} [variant]
 * @property {FileRecord} file
 * @property {FileRecord | null} [data]
 * @property {Signature[]} inputs
 * @property {Signature[]} outputs
 * @property {Record<string, number | number[]>} dims
 * @property {Record<string, number | number[][]>} [facts]
 * @property {Record<string, number | boolean>} [defaults]
 * @typedef {{schema_version: number, model: string, components: ComponentRecord[]}} Manifest
 * @typedef {(name: string, signal?: AbortSignal) => Promise<Uint8Array<ArrayBuffer>>} Reader
 * @typedef {object} Codec
 * @property {number} sampleRate Hz
 * @property {number} hopLength samples a frame
 * @property {number} codebooks
 * @property {number} codebookSize also the mask token
 */

/** The facts of a version, and its files. */
export class Version {
  #read;
  /** @type {Map<string, ComponentRecord>} */ #components;

  /**
   * @param {Manifest} manifest
   * @param {string} sha256 of the manifest, which names the version
   * @param {string} where
   * @param {Reader} read
   */
  constructor(manifest, sha256, where, read) {
    this.manifest = manifest;
    this.sha256 = sha256;
    this.where = where;
    this.#read = read;
    this.#components = new Map(
      manifest.components.map((part) => [
        part.variant ? `${part.name}.${part.variant}` : part.name,
        part,
      ]),
    );
    const encoder = this.component("codec_encoder");
    /** @type {Codec} */
    this.codec = {
      sampleRate: this.dim(encoder, "sample_rate"),
      hopLength: /** @type {number[]} */ (encoder.dims.decoder_rates).reduce((a, b) => a * b),
      codebooks: this.dim(encoder, "n_codebooks"),
      codebookSize: this.dim(encoder, "codebook_size"),
    };
  }

  /** Names of the components, such as `coarse.generator`. */
  get ids() {
    return [...this.#components.keys()];
  }

  /** Rates in Hz that audio may come at: the codec's, and those of variants. */
  get rates() {
    const from = this.ids.map((id) => Number(/^audio_processor\.from_(\d+)$/.exec(id)?.[1]));
    return [this.codec.sampleRate, ...from.filter(Boolean)].sort((a, b) => a - b);
  }

  /**
   * Return a component.
   * @param {string} id
   * @throws {InputError} the version has none of this name
   */
  component(id) {
    const found = this.#components.get(id);
    if (!found) throw new InputError(`${this.where}: holds no ${id}; ${wayOut(id)}`);
    return found;
  }

  /**
   * Return a dimension that is a number.
   * @param {ComponentRecord} part
   * @param {string} name
   */
  dim(part, name) {
    const value = part.dims[name];
    if (typeof value !== "number") {
      throw new InputError(`${MANIFEST}: ${part.name} has no number ${name}; export again`);
    }
    return value;
  }

  /**
   * Return a fact of a component.
   * @param {string} id
   * @param {string} name
   */
  fact(id, name) {
    const value = this.component(id).facts?.[name];
    if (value === undefined) {
      throw new InputError(
        `${this.where}: ${id} was exported by a version that did not record ${name}; export again`,
      );
    }
    return value;
  }

  /**
   * Read a file and check what was read.
   * @param {FileRecord} file
   * @param {AbortSignal} [signal]
   * @throws {InputError} it is missing, or another one than the manifest says
   */
  async file(file, signal) {
    if (!/^[^/\\]+$/.test(file.name) || file.name === "..") {
      throw new InputError(`${MANIFEST}: ${file.name} is no name of a file in the same folder`);
    }
    const content = await this.#read(file.name, signal);
    const found = await digest(content);
    if (found !== file.sha256) {
      throw new InputError(
        `${this.where}: ${file.name} is not the file that ${MANIFEST} names (its SHA-256 is` +
          ` ${found.slice(0, 12)}…, not ${file.sha256.slice(0, 12)}…); copy or export it again`,
      );
    }
    return content;
  }
}

/**
 * Open a version's folder.
 * @param {string | URL} where an address, or in Node a folder, that holds a manifest.json
 * @param {AbortSignal} [signal]
 * @throws {InputError} there is no manifest, or one of another schema
 */
export async function openVersion(where, signal) {
  const read = readerOf(where);
  const content = await read(MANIFEST, signal);
  /** @type {any} */
  let manifest;
  try {
    manifest = JSON.parse(new TextDecoder().decode(content));
  } catch (error) {
    throw new InputError(`${where}: ${MANIFEST} is not JSON (${said(error)}); export again`);
  }
  if (manifest?.schema_version !== SCHEMA || !Array.isArray(manifest.components)) {
    throw new InputError(
      `${where}: ${MANIFEST} is of schema ${manifest?.schema_version}, and this reads schema` +
        ` ${SCHEMA}; export again, or take the module of the version that made it`,
    );
  }
  return new Version(manifest, await digest(content), String(where), read);
}

/**
 * Return what reads files of a folder.
 * @param {string | URL} where
 * @returns {Reader}
 */
function readerOf(where) {
  const text = String(where);
  const inNode = typeof process !== "undefined" && Boolean(process.versions?.node);
  if (inNode && (text.startsWith("file:") || !/^[a-z][a-z\d+.-]+:/i.test(text))) {
    return async (name, signal) => {
      const { readFile } = await import("node:fs/promises");
      const { join } = await import("node:path");
      const { fileURLToPath } = await import("node:url");
      const folder = text.startsWith("file:") ? fileURLToPath(text) : text;
      try {
        return new Uint8Array(await readFile(join(folder, name), { signal }));
      } catch (error) {
        signal?.throwIfAborted();
        throw new InputError(`${text}: ${name} cannot be read (${said(error)})`);
      }
    };
  }
  return async (name, signal) => {
    const base = new URL(text.endsWith("/") ? text : `${text}/`, globalThis.location?.href);
    let answer;
    try {
      answer = await fetch(new URL(encodeURIComponent(name), base), { signal });
    } catch (error) {
      signal?.throwIfAborted();
      throw new InputError(`${text}: ${name} cannot be fetched (${said(error)})`);
    }
    if (!answer.ok) {
      throw new InputError(`${text}: ${name} cannot be fetched (HTTP ${answer.status})`);
    }
    return new Uint8Array(await answer.arrayBuffer());
  };
}

/**
 * Return the SHA-256 of bytes, in hex.
 * @param {Uint8Array<ArrayBuffer>} content
 */
async function digest(content) {
  if (!globalThis.crypto?.subtle) {
    throw new InputError(
      "files cannot be hashed here, since the page is not secure; open it over https or on localhost",
    );
  }
  const found = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return Array.from(found, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} id */
function wayOut(id) {
  if (id.endsWith(".generator")) {
    return "export it: vampnet-onnx export --checkpoint DIR --generator";
  }
  return "export it: vampnet-onnx export --checkpoint DIR";
}
