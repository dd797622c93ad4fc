/** Codes, [batch, codebooks, frames] in C order, and masks of the same shape. */

/**
 * @typedef {object} Codes
 * @property {Int32Array} data
 * @property {[batch: number, codebooks: number, frames: number]} dims
 */

/**
 * Make codes of a rule.
 * @param {Codes["dims"]} dims
 * @param {(batch: number, book: number, frame: number) => number} rule
 * @returns {Codes}
 */
export function codesBy(dims, rule) {
  const [batch, books, frames] = dims;
  const data = new Int32Array(batch * books * frames);
  let at = 0;
  for (let item = 0; item < batch; item += 1) {
    for (let book = 0; book < books; book += 1) {
      for (let frame = 0; frame < frames; frame += 1, at += 1) data[at] = rule(item, book, frame);
    }
  }
  return { data, dims };
}

/**
 * Return one code.
 * @param {Codes} codes
 * @param {number} item
 * @param {number} book
 * @param {number} frame
 */
export function codeAt({ data, dims }, item, book, frame) {
  return data[(item * dims[1] + book) * dims[2] + frame];
}

/**
 * Return codes of an output of a graph.
 * @param {import("./sessions.js").Values} values whole numbers
 * @returns {Codes}
 */
export function codesOf({ data, dims }) {
  const [batch, books, frames] = dims.slice(-3);
  return { data: Int32Array.from(data, Number), dims: [batch, books, frames] };
}

/**
 * Cut frames out.
 * @param {Codes} codes
 * @param {number} start
 * @param {number} stop not more than there are
 */
export function framesOf(codes, start, stop) {
  const [batch, books] = codes.dims;
  return codesBy([batch, books, stop - start], (item, book, frame) =>
    codeAt(codes, item, book, start + frame),
  );
}

/**
 * Cut codebooks out.
 * @param {Codes} codes
 * @param {number} start
 * @param {number} stop
 */
export function booksOf(codes, start, stop) {
  const [batch, , frames] = codes.dims;
  return codesBy([batch, stop - start, frames], (item, book, frame) =>
    codeAt(codes, item, start + book, frame),
  );
}

/**
 * Cut into pieces of so many frames; the last may be shorter.
 * @param {Codes} codes
 * @param {number} size
 */
export function piecesOf(codes, size) {
  const found = [];
  for (let at = 0; at < codes.dims[2]; at += size) {
    found.push(framesOf(codes, at, Math.min(at + size, codes.dims[2])));
  }
  return found;
}

/**
 * Put pieces one behind the other.
 * @param {Codes[]} pieces at least one
 */
export function joinedFrames(pieces) {
  const [batch, books] = pieces[0].dims;
  const starts = pieces.map((_, i) => pieces.slice(0, i).reduce((sum, p) => sum + p.dims[2], 0));
  const frames = pieces.reduce((sum, piece) => sum + piece.dims[2], 0);
  const joined = codesBy([batch, books, frames], () => 0);
  pieces.forEach((piece, i) => {
    for (let row = 0; row < batch * books; row += 1) {
      const part = piece.data.subarray(row * piece.dims[2], (row + 1) * piece.dims[2]);
      joined.data.set(part, row * frames + starts[i]);
    }
  });
  return joined;
}

/**
 * Put codebooks on top of others.
 * @param {Codes} lower
 * @param {Codes} upper
 */
export function joinedBooks(lower, upper) {
  const [batch, books, frames] = lower.dims;
  return codesBy([batch, books + upper.dims[1], frames], (item, book, frame) =>
    book < books ? codeAt(lower, item, book, frame) : codeAt(upper, item, book - books, frame),
  );
}
