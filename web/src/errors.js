/** What a user can mend: one sentence that names key, value and the way out. */
export class InputError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = "InputError";
  }
}

/**
 * Say what was thrown, whatever it is.
 * @param {unknown} error
 * @returns {string}
 */
export function said(error) {
  return error instanceof Error ? error.message : String(error);
}
