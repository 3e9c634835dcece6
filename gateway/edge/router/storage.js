/** What of the roll must outlive the Durable Object: one row for each coordinator in its SQLite database. */

export class Storage {
  /** @param {SqlStorage} sql */
  constructor(sql) {
    this.sql = sql;
    sql.exec("CREATE TABLE IF NOT EXISTS coordinators (id TEXT PRIMARY KEY, kept TEXT NOT NULL)");
  }

  /** @returns {object[]} rows; what cannot be read is left out, and said */
  load() {
    const rows = [];
    for (const { id, kept } of this.sql.exec("SELECT id, kept FROM coordinators").toArray()) {
      try {
        const row = JSON.parse(kept);
        const isRow = row.id === id && typeof row.url === "string" && Number.isFinite(row.lastSeenMs);
        if (!isRow) {
          throw new Error("it lacks members");
        }
        rows.push(row);
      } catch (error) {
        console.error(`what was kept of coordinator ${id} cannot be read (${error.message}); it has to register again`);
        this.remove(id);
      }
    }
    return rows;
  }

  /** @param {object} row */
  put(row) {
    this.sql.exec("INSERT OR REPLACE INTO coordinators (id, kept) VALUES (?, ?)", row.id, JSON.stringify(row));
  }

  remove(id) {
    this.sql.exec("DELETE FROM coordinators WHERE id = ?", id);
  }
}
