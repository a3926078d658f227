// types.js: the shapes of the server's answers that few pages need. Types only, no code.

/** @typedef {import("./api.js").Node} Node */
/** @typedef {import("./api.js").User} User */
/**
 * @typedef {{id: string, title: string, nodes: Node[], has_code: boolean, public: boolean,
 *   created_ms: number, expires_ms: number | null, download_limit: number | null,
 *   downloads: number, views: number, saves: number, stopped_ms: number | null,
 *   state: "live" | "expired" | "used_up" | "stopped"}} Share
 * @typedef {{id: string, title: string, owner: string, created_ms: number,
 *   expires_ms: number | null, needs_code: boolean, views: number, downloads: number,
 *   saves: number, entries: number}} SharedPage
 * @typedef {{id: string, created_ms: number, used_ms: number, address: string, agent: string,
 *   current: boolean}} Session
 * @typedef {{id: string, name: string, scopes: string[], created_ms: number,
 *   expires_ms: number | null, used_ms: number | null}} Token
 * @typedef {User & {disabled_ms: number | null, totp: boolean, created_ms: number}} Account
 * @typedef {{id: string, at_ms: number, actor: string | null, actor_name: string | null,
 *   action: string, node: string | null, address: string, detail: string}} AuditEntry
 * @typedef {{id: string, address: string, status: string, version: string, total_bytes: number,
 *   free_bytes: number, uploads: number, downloads: number, lag_s: number | null,
 *   heartbeat_s: number | null}} Storage
 * @typedef {{name: string, total_bytes: number, free_bytes: number, storages: Storage[]}} Group
 * @typedef {{users: number, users_disabled: number, files: number, folders: number,
 *   file_bytes: number, blobs: number, blob_bytes: number, uploads: number,
 *   garbage: number}} Stats
 */

export {};
