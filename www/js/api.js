// api.js: everything the pages ask of the server. No other file here may use the network.

/**
 * @typedef {{id: string, name: string, nickname: string, role: "user" | "admin",
 *   quota_bytes: number, used_bytes: number, locale: string | null}} User
 * @typedef {{id: string, parent: string | null, kind: "file" | "folder", name: string,
 *   size: number, media_type: string | null, category: string | null,
 *   created_ms: number, modified_ms: number}} Node
 * @typedef {{folder: Node | null, nodes: Node[], next: string | null}} Page
 * @typedef {"name" | "size" | "modified"} Sort
 * @typedef {"asc" | "desc"} Order
 * @typedef {{promise: Promise<Node>, abort: () => void}} Sending
 */

/** The id of the folder that every user has. */
export const ROOT = "root";

/** A short request that has no answer after this long counts as unreachable. */
const ANSWER_MS_MAX = 30_000;
/** An upload that moves no byte for this long is given up. */
const STALL_MS_MAX = 90_000;
/** After its last byte a large one is made durable before the answer; nginx waits as long. */
const STORE_MS_MAX = 600_000;

/** Why a request failed: the server's `code`, or unreachable, unavailable, stalled, aborted. */
export class ApiError extends Error {
  /**
   * @param {number} status 0 if there was no answer
   * @param {string} code
   * @param {{field?: string, retryAfterMs?: number}} [more]
   */
  constructor(status, code, more = {}) {
    super(`${code} (${status})`);
    this.status = status;
    this.code = code;
    this.field = more.field ?? null;
    this.retryAfterMs = more.retryAfterMs ?? null;
  }
}

/** What an answer without a body of ours (a proxy's page) must mean. @param {number} status */
function codeOf(status) {
  if (status === 401) return "unauthenticated";
  if (status === 403) return "forbidden";
  if (status === 404) return "not_found";
  if (status === 413) return "too_large";
  if (status === 429) return "too_many_attempts";
  if (status >= 502 && status <= 504) return "unavailable";
  return status >= 500 ? "internal" : "bad_request";
}

/**
 * @param {number} status
 * @param {string} text the body
 * @param {string | null} retryAfter
 */
function errorFrom(status, text, retryAfter) {
  const seconds = Number(retryAfter ?? NaN);
  const retryAfterMs = Number.isFinite(seconds) ? seconds * 1000 : undefined;
  try {
    const { code, field } = JSON.parse(text).error;
    if (typeof code === "string") return new ApiError(status, code, { field, retryAfterMs });
  } catch {
    // Not ours, or cut off: the status has to do.
  }
  return new ApiError(status, codeOf(status), { retryAfterMs });
}

/**
 * One request with a short answer.
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body] sent as JSON
 * @returns {Promise<any>} the answer's JSON, or null without one
 */
async function call(method, path, body) {
  const control = new AbortController();
  const timer = setTimeout(() => control.abort(), ANSWER_MS_MAX);
  /** @type {RequestInit} */
  const request = { method, signal: control.signal, headers: { Accept: "application/json" } };
  if (body !== undefined) {
    request.headers = { Accept: "application/json", "Content-Type": "application/json" };
    request.body = JSON.stringify(body);
  }
  try {
    const response = await fetch(path, request);
    const text = await response.text();
    if (!response.ok) {
      throw errorFrom(response.status, text, response.headers.get("Retry-After"));
    }
    return text === "" ? null : JSON.parse(text);
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw new ApiError(0, error instanceof SyntaxError ? "unavailable" : "unreachable");
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Makes an account and logs in with it.
 * @param {{name: string, password: string, nickname?: string}} form
 * @returns {Promise<User>}
 */
export async function register(form) {
  return (await call("POST", "/api/register", form)).user;
}

/** @param {{name: string, password: string}} form @returns {Promise<User>} */
export async function login(form) {
  return (await call("POST", "/api/login", form)).user;
}

export async function logout() {
  await call("POST", "/api/logout");
}

/** Who is logged in. @returns {Promise<User>} */
export async function session() {
  return (await call("GET", "/api/session")).user;
}

/**
 * One page of a folder.
 * @param {string} folder
 * @param {{sort?: Sort, order?: Order, limit?: number, cursor?: string | null}} page
 * @returns {Promise<Page>}
 */
export function list(folder, page) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(page)) {
    if (value !== undefined && value !== null) query.set(name, String(value));
  }
  return call("GET", `/api/disk/${encodeURIComponent(folder)}?${query}`);
}

/** @param {string} parent @param {string} name @returns {Promise<Node>} */
export function makeFolder(parent, name) {
  return call("POST", "/api/disk", { parent, name });
}

/** The picture that holds all icons, as text. @returns {Promise<string>} */
export async function icons() {
  const response = await fetch("img/icons.svg");
  if (!response.ok) throw new ApiError(response.status, codeOf(response.status));
  return response.text();
}

/** Where a file's bytes are. @param {string} id */
export function downloadUrl(id) {
  return `/api/download/${encodeURIComponent(id)}`;
}

/**
 * Sends one file. XMLHttpRequest, because fetch cannot tell how far an upload is.
 * @param {{parent: string, name: string, file: Blob, conflict: "fail" | "rename"}} what
 * @param {(sent: number) => void} onProgress bytes sent so far
 * @returns {Sending} aborting rejects with the code `aborted`
 */
export function upload(what, onProgress) {
  const request = new XMLHttpRequest();
  const query = new URLSearchParams({ parent: what.parent, conflict: what.conflict });
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let stall;
  let stalled = false;
  const moved = (/** @type {number} */ ms) => {
    clearTimeout(stall);
    stall = setTimeout(() => {
      stalled = true;
      request.abort();
    }, ms);
  };
  /** @type {Promise<Node>} */
  const promise = new Promise((resolve, reject) => {
    request.onload = () => {
      if (request.status === 201) resolve(JSON.parse(request.responseText));
      else {
        const after = request.getResponseHeader("Retry-After");
        reject(errorFrom(request.status, request.responseText, after));
      }
    };
    request.onerror = () => reject(new ApiError(0, "unreachable"));
    request.onabort = () => reject(new ApiError(0, stalled ? "stalled" : "aborted"));
    request.onloadend = () => clearTimeout(stall);
    request.upload.onprogress = (event) => {
      moved(event.loaded < what.file.size ? STALL_MS_MAX : STORE_MS_MAX);
      onProgress(event.loaded);
    };
  });
  request.open("PUT", `/api/upload/${encodeURIComponent(what.name)}?${query}`);
  request.setRequestHeader("Accept", "application/json");
  request.setRequestHeader("Content-Type", "application/octet-stream");
  moved(STALL_MS_MAX);
  request.send(what.file);
  return { promise, abort: () => request.abort() };
}
