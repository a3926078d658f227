// api.js: everything the pages ask of the server. No other file here may use the network.

/**
 * @typedef {{id: string, name: string, nickname: string, role: "user" | "admin",
 *   quota_bytes: number, used_bytes: number, locale: string | null, email?: string | null,
 *   theme?: string, totp?: boolean, created_ms?: number}} User
 * @typedef {{id: string, parent: string | null, kind: "file" | "folder", name: string,
 *   size: number, media_type: string | null, category: string | null, created_ms: number,
 *   modified_ms: number, favourite?: boolean, downloads?: number, trashed_ms?: number,
 *   purge_ms?: number, origin?: string}} Node
 * @typedef {{id: string, name: string}} Crumb
 * @typedef {{folder: Node | null, path: Crumb[], nodes: Node[], next: string | null}} Page
 * @typedef {"name" | "size" | "modified"} Sort
 * @typedef {"asc" | "desc"} Order
 * @typedef {"fail" | "rename" | "replace"} Conflict
 * @typedef {{id: string, node: Node | null, error: {code: string, message: string} | null}} Result
 * @typedef {{sort?: Sort, order?: Order, limit?: number, cursor?: string | null}} Ask
 * @typedef {{category: string, files: number, bytes: number}} Tally
 * @typedef {{promise: Promise<XMLHttpRequest>, abort: () => void}} Sending
 */

/** @typedef {import("./types.js").Share} Share */
/** @typedef {import("./types.js").SharedPage} SharedPage */
/** @typedef {import("./types.js").Session} Session */
/** @typedef {import("./types.js").Token} Token */
/** @typedef {import("./types.js").Account} Account */
/** @typedef {import("./types.js").AuditEntry} AuditEntry */
/** @typedef {import("./types.js").Group} Group */
/** @typedef {import("./types.js").Stats} Stats */

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
  const known = /** @type {Record<number, string>} */ ({
    401: "unauthenticated", 403: "forbidden", 404: "not_found", 410: "share_stopped",
    413: "too_large", 429: "too_many_attempts", 502: "unavailable", 503: "unavailable",
    504: "unavailable",
  });
  return known[status] ?? (status >= 500 ? "internal" : "bad_request");
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

/** Every answer of the server that is not a success ends here. */
const watchers = new Set(/** @type {((error: ApiError) => void)[]} */ ([]));

/** Calls back with each error an answer carries. @param {(error: ApiError) => void} watcher */
export function onError(watcher) {
  watchers.add(watcher);
}

/** @param {ApiError} error */
function failed(error) {
  for (const watcher of watchers) watcher(error);
  return error;
}

/**
 * One request with a short answer.
 * @param {string} path
 * @param {RequestInit} request
 * @returns {Promise<Response>} a success
 */
async function ask(path, request) {
  const control = new AbortController();
  const timer = setTimeout(() => control.abort(), ANSWER_MS_MAX);
  try {
    const response = await fetch(path, { ...request, signal: control.signal });
    if (!response.ok) {
      const text = await response.text();
      throw failed(errorFrom(response.status, text, response.headers.get("Retry-After")));
    }
    return response;
  } catch (error) {
    throw error instanceof ApiError ? error : new ApiError(0, "unreachable");
  } finally {
    clearTimeout(timer);
  }
}

/**
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body] sent as JSON
 * @returns {Promise<any>} the answer's JSON, or null without one
 */
async function call(method, path, body) {
  /** @type {RequestInit} */
  const request = { method, headers: { Accept: "application/json" } };
  if (body !== undefined) {
    request.headers = { ...request.headers, "Content-Type": "application/json" };
    request.body = JSON.stringify(body);
  }
  const response = await ask(path, request);
  try {
    const text = await response.text();
    return text === "" ? null : JSON.parse(text);
  } catch (error) {
    throw new ApiError(0, error instanceof SyntaxError ? "unavailable" : "unreachable");
  }
}

/** @param {string} path @param {Record<string, unknown>} fields what is null is left out */
function withQuery(path, fields) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined && value !== null && value !== "") query.set(name, String(value));
  }
  const text = query.toString();
  return text === "" ? path : `${path}?${text}`;
}

const part = encodeURIComponent;

// Accounts -----------------------------------------------------------------------------------

/**
 * Makes an account and logs in with it.
 * @param {{name: string, password: string, nickname?: string}} form
 * @returns {Promise<User>}
 */
export const register = async (form) => (await call("POST", "/api/register", form)).user;

/** @param {{name: string, password: string, code?: string}} form @returns {Promise<User>} */
export const login = async (form) => (await call("POST", "/api/login", form)).user;

export const logout = () => call("POST", "/api/logout");

/** Who is logged in. @returns {Promise<User>} */
export const session = async () => (await call("GET", "/api/session")).user;

/** @param {{nickname?: string, email?: string | null, locale?: string, theme?: string}} change
 * @returns {Promise<User>} */
export const changeUser = async (change) => (await call("PATCH", "/api/session", change)).user;

/** @returns {Promise<Session[]>} */
export const sessions = async () => (await call("GET", "/api/sessions")).sessions;

/** Ends a session, or all others. @param {string} [id] */
export const endSession = (id) => call("DELETE", `/api/sessions${id ? `/${part(id)}` : ""}`);

/** @param {string} password @param {string} fresh */
export const changePassword = (password, fresh) =>
  call("POST", "/api/password", { password, new_password: fresh });

/** @param {string} password @returns {Promise<{secret: string, uri: string}>} */
export const totpBegin = (password) => call("POST", "/api/totp", { password });

/** @param {string} code @returns {Promise<string[]>} recovery codes */
export const totpConfirm = async (code) =>
  (await call("POST", "/api/totp/confirm", { code })).recovery_codes;

/** @param {string} password @param {string} code */
export const totpEnd = (password, code) => call("POST", "/api/totp/disable", { password, code });

/** @returns {Promise<Token[]>} */
export const tokens = async () => (await call("GET", "/api/tokens")).tokens;

/** @param {{name: string, scopes: string[], expires_days: number | null, password: string}} form
 * @returns {Promise<{token: Token, secret: string}>} */
export const makeToken = (form) => call("POST", "/api/tokens", form);

/** @param {string} id */
export const endToken = (id) => call("DELETE", `/api/tokens/${part(id)}`);

// Nodes --------------------------------------------------------------------------------------

/** @param {any} answer @returns {Page} */
const page = ({ folder = null, path = [], nodes, next = null }) => ({ folder, path, nodes, next });

/** One page of a folder. @param {string} folder @param {Ask} asked @returns {Promise<Page>} */
export const list = async (folder, asked) =>
  page(await call("GET", withQuery(`/api/disk/${part(folder)}`, asked)));

/** @param {string} category @param {Ask} asked @returns {Promise<Page>} */
export const listCategory = async (category, asked) =>
  page(await call("GET", withQuery(`/api/category/${part(category)}`, asked)));

/** What was changed or opened last. @returns {Promise<Page>} */
export const listRecent = async () => page(await call("GET", "/api/mydisk/recent?limit=200"));

/** @param {Ask} asked @returns {Promise<Page>} */
export const listFavourites = async (asked) =>
  page(await call("GET", withQuery("/api/mydisk/favourites", asked)));

/** @param {string} q @param {Ask & {category?: string, kind?: string}} asked
 * @returns {Promise<Page>} */
export const search = async (q, asked) =>
  page(await call("GET", withQuery("/api/mydisk/search", { q, ...asked })));

/** The recycle bin. @param {Ask} asked @returns {Promise<Page>} */
export async function listTrash(asked) {
  const { entries, next } = await call("GET", withQuery("/api/mydisk/trash", asked));
  const nodes = entries.map((/** @type {any} */ { node, bytes, ...more }) =>
    ({ ...node, ...more, size: node.kind === "file" ? node.size : bytes }));
  return { folder: null, path: [], nodes, next };
}

/** @returns {Promise<{quota_bytes: number, used_bytes: number, trash_bytes: number,
 *   categories: Tally[]}>} */
export const usage = () => call("GET", "/api/mydisk/usage");

/** @param {string} id @returns {Promise<{node: Node, path: Crumb[]}>} */
export const info = (id) => call("GET", `/api/disk/${part(id)}/info`);

/** @param {string} parent @param {string} name @returns {Promise<Node>} */
export const makeFolder = (parent, name) => call("POST", "/api/disk", { parent, name });

/** @param {string} id @param {string} name @returns {Promise<Node>} */
export const rename = (id, name) => call("PATCH", `/api/disk/${part(id)}`, { name });

/** @param {string} path @param {object} body @returns {Promise<Result[]>} */
const batch = async (path, body) => (await call("POST", path, body)).results;

/** @param {string[]} ids @param {string} parent @param {Conflict} [conflict] */
export const move = (ids, parent, conflict = "fail") =>
  batch("/api/disk/move", { ids, parent, conflict });

/** @param {string[]} ids @param {string} parent */
export const copy = (ids, parent) => batch("/api/disk/copy", { ids, parent, conflict: "rename" });

/** @param {string[]} ids */
export const trash = (ids) => batch("/api/disk/trash", { ids });

/** @param {string[]} ids */
export const restore = (ids) => batch("/api/mydisk/trash/restore", { ids });
/** @param {string[]} ids */
export const purge = (ids) => batch("/api/mydisk/trash/purge", { ids });

export const emptyTrash = () => call("DELETE", "/api/mydisk/trash");

/** @param {string} id @param {boolean} on */
export const star = (id, on) => call(on ? "PUT" : "DELETE", `/api/mydisk/favourites/${part(id)}`);

/** Where a file's bytes are. @param {string} id @param {boolean} [inline] */
export const downloadUrl = (id, inline = false) =>
  `/api/download/${part(id)}${inline ? "?inline=1" : ""}`;

/** Where several nodes are, as one archive. @param {string[]} ids @param {string} name */
export const zipUrl = (ids, name) => withQuery("/api/zip", { ids: ids.join(","), name });

/** @param {{id: string}} node @param {"small" | "medium" | "large"} size @param {string} [share] */
export const thumbUrl = (node, size, share) => share
  ? `/api/share/${part(share)}/thumb/${part(node.id)}?size=${size}`
  : `/api/thumb/${part(node.id)}?size=${size}`;

// Shares -------------------------------------------------------------------------------------

/** @param {{nodes: string[], title?: string, code?: string, expires_ms?: number,
 *   download_limit?: number, public?: boolean}} form @returns {Promise<Share>} */
export const makeShare = (form) => call("POST", "/api/shares", form);

/** @param {Ask} asked @returns {Promise<{shares: Share[], next: string | null}>} */
export const listShares = (asked) => call("GET", withQuery("/api/shares", asked));

/** @param {string} id @param {{title?: string, code?: string | null, expires_ms?: number | null,
 *   download_limit?: number | null, public?: boolean}} change @returns {Promise<Share>} */
export const changeShare = (id, change) => call("PATCH", `/api/shares/${part(id)}`, change);

/** @param {string} id */
export const stopShare = (id) => call("DELETE", `/api/shares/${part(id)}`);

/** @param {Ask} asked @returns {Promise<{shares: SharedPage[], next: string | null}>} */
export const publicShares = (asked) => call("GET", withQuery("/api/shares/public", asked));

/** @returns {Promise<SharedPage[]>} */
export const ranking = async () => (await call("GET", "/api/shares/ranking?limit=50")).shares;

/** @param {string} id @returns {Promise<SharedPage>} */
export const share = (id) => call("GET", `/api/share/${part(id)}`);

/** @param {string} id @param {string} code */
export const openShare = (id, code) => call("POST", `/api/share/${part(id)}/open`, { code });

/** @param {string} id @param {string} folder @param {Ask} asked @returns {Promise<Page>} */
export const listShared = async (id, folder, asked) => page(await call("GET",
  withQuery(`/api/share/${part(id)}/nodes${folder === ROOT ? "" : `/${part(folder)}`}`, asked)));

/** @param {string} id @param {string} node @param {boolean} [inline] */
export const sharedUrl = (id, node, inline = false) =>
  `/api/share/${part(id)}/download/${part(node)}${inline ? "?inline=1" : ""}`;

/** @param {string} id @param {string[]} ids none: everything */
export const sharedZipUrl = (id, ids) =>
  withQuery(`/api/share/${part(id)}/zip`, { ids: ids.join(",") });

/** @param {string} id @param {string[]} ids @param {string} parent */
export const saveShared = (id, ids, parent) => batch(`/api/share/${part(id)}/save`,
  { parent, conflict: "rename", ...(ids.length > 0 ? { ids } : {}) });

/** @param {string} id @param {string} reason @param {string} text */
export const reportShare = (id, reason, text) =>
  call("POST", `/api/share/${part(id)}/report`, { reason, text });

// Administration -----------------------------------------------------------------------------

/** @param {Ask & {q?: string}} asked
 * @returns {Promise<{users: Account[], next: string | null}>} */
export const accounts = (asked) => call("GET", withQuery("/api/admin/users", asked));

/** @param {{name: string, nickname?: string, role?: string, quota_bytes?: number}} form
 * @returns {Promise<{user: Account, password: string | null}>} */
export const makeAccount = (form) => call("POST", "/api/admin/users", form);

/** @param {string} id
 * @param {{quota_bytes?: number, role?: string, disabled?: boolean, totp?: false}} change
 * @returns {Promise<Account>} */
export const changeAccount = async (id, change) =>
  (await call("PATCH", `/api/admin/users/${part(id)}`, change)).user;

/** @param {string} id @returns {Promise<string>} */
export const newPassword = async (id) =>
  (await call("POST", `/api/admin/users/${part(id)}/password`)).password;

/** @param {Ask & {action?: string, actor?: string}} asked
 * @returns {Promise<{entries: AuditEntry[], next: string | null}>} */
export const audit = (asked) => call("GET", withQuery("/api/admin/audit", asked));

/** @returns {Promise<Group[]>} */
export const cluster = async () => (await call("GET", "/api/admin/cluster")).groups;

/** @returns {Promise<Stats>} */
export const stats = () => call("GET", "/api/admin/stats");

// Bytes --------------------------------------------------------------------------------------

/** The picture that holds all icons, as text. @returns {Promise<string>} */
export const icons = async () => (await ask("img/icons.svg", {})).text();

/**
 * Some bytes of a file of ours or of the server.
 * @param {string} url
 * @param {number} [from]
 * @param {number} [to] the first byte that is not wanted
 * @returns {Promise<{bytes: Uint8Array, whole: number}>} and how many the file has
 */
export async function bytes(url, from, to) {
  const headers = from === undefined ? undefined : { Range: `bytes=${from}-${(to ?? 0) - 1}` };
  const response = await ask(url, { headers });
  const got = new Uint8Array(await response.arrayBuffer());
  const whole = response.headers.get("Content-Range")?.split("/")[1];
  return { bytes: got, whole: whole ? Number(whole) : got.length };
}

/**
 * A request with a body of bytes. XMLHttpRequest, because fetch cannot tell how far it is.
 * @param {{method: string, path: string, headers: Record<string, string>, body: Blob}} what
 * @param {(sent: number) => void} onProgress bytes sent so far
 * @returns {Sending} aborting rejects with the code `aborted`
 */
export function sendBytes({ method, path, headers, body }, onProgress) {
  const request = new XMLHttpRequest();
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
  /** @type {Promise<XMLHttpRequest>} */
  const promise = new Promise((resolve, reject) => {
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) resolve(request);
      else {
        const after = request.getResponseHeader("Retry-After");
        reject(errorFrom(request.status, request.responseText, after));
      }
    };
    request.onerror = () => reject(new ApiError(0, "unreachable"));
    request.onabort = () => reject(new ApiError(0, stalled ? "stalled" : "aborted"));
    request.onloadend = () => clearTimeout(stall);
    request.upload.onprogress = (event) => {
      moved(event.loaded < body.size ? STALL_MS_MAX : STORE_MS_MAX);
      onProgress(event.loaded);
    };
  });
  request.open(method, path);
  request.setRequestHeader("Accept", "application/json");
  for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
  moved(STALL_MS_MAX);
  request.send(body);
  return { promise, abort: () => request.abort() };
}

/** @typedef {{name: string, parent: string, path: string, conflict: Conflict}} Target */

/** Where a small file is put. @param {Target} to */
export const putUrl = ({ name, ...to }) => withQuery(`/api/upload/${part(name)}`, to);

/**
 * Asks to store a file without sending it.
 * @param {Target & {md5: string, size: number}} what
 * @returns {Promise<{challenge: string, nonce: string,
 *   ranges: {offset: number, length: number}[]}>}
 */
export const instant = (what) => call("POST", "/api/instant", what);

/** @param {string} challenge @param {string} proof @returns {Promise<Node>} */
export const instantProve = (challenge, proof) =>
  call("POST", `/api/instant/${part(challenge)}`, { proof });

const TUS = Object.freeze({ "Tus-Resumable": "1.0.0" });

/** How far a resumable upload is. @param {string} id */
export async function uploadOffset(id) {
  const { headers } = await ask(`/api/uploads/${part(id)}`, { method: "HEAD", headers: TUS });
  return { offset: Number(headers.get("Upload-Offset")), node: headers.get("Upload-Node") };
}

/** Begins a resumable upload. @param {number} length @param {Record<string, string>} metadata */
export async function beginUpload(length, metadata) {
  const pairs = Object.entries(metadata).filter(([, value]) => value !== "").map(([key, value]) => {
    const utf8 = String.fromCharCode(...new TextEncoder().encode(value));
    return `${key} ${btoa(utf8)}`;
  });
  const headers = { ...TUS, "Upload-Length": String(length), "Upload-Metadata": pairs.join(",") };
  const { headers: answer } = await ask("/api/uploads", { method: "POST", headers });
  return {
    id: answer.get("Location")?.split("/").pop() ?? "", node: answer.get("Upload-Node"),
  };
}

/** @param {string} id @param {number} offset @param {Blob} body
 * @param {(sent: number) => void} onProgress */
export const continueUpload = (id, offset, body, onProgress) => sendBytes({
  method: "PATCH", path: `/api/uploads/${part(id)}`, body,
  headers: {
    ...TUS, "Upload-Offset": String(offset), "Content-Type": "application/offset+octet-stream",
  },
}, onProgress);

/** Gives a resumable upload up. @param {string} id */
export const giveUpload = (id) =>
  ask(`/api/uploads/${part(id)}`, { method: "DELETE", headers: TUS });

// Events -------------------------------------------------------------------------------------

/**
 * Listens to changes of the drive, made here or elsewhere, until the page goes.
 * @param {(kind: string, data: {folders?: string[]}) => void} onEvent `open` after each connection
 */
export function listen(onEvent) {
  const source = new EventSource("/api/events");
  source.addEventListener("open", () => onEvent("open", {}));
  for (const kind of ["files", "trash", "shares", "uploads", "account"]) {
    source.addEventListener(kind, (event) => {
      try {
        onEvent(kind, JSON.parse(event.data));
      } catch {
        onEvent(kind, {}); // what changed is not known: the listener asks anew
      }
    });
  }
  return source;
}
