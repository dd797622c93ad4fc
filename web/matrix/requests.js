/** Requests of the execution matrix, answered: verify/sides/runtimes/process.py says how. */
import { createInterface } from "node:readline";

export const INPUTS = "in.bin";
export const OUTPUTS = "out.bin";

/**
 * Answer requests from standard input until there are no more.
 * @param {Record<string, (request: any) => Promise<object>>} does by what is asked for
 */
export async function serve(does) {
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    let answer;
    try {
      answer = await does[request.do](request);
    } catch (error) {
      answer = { error: (error instanceof Error && error.message) || String(error) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
}
