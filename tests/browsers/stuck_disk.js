// Prevents write transactions from committing while `stuck` is set. Runs before the page's own scripts.
const { commit } = IDBTransaction.prototype;
IDBTransaction.prototype.commit = function () {
  const store = this.objectStore(this.objectStoreNames[0]);
  const wait = () => {
    if (globalThis.stuck && this.mode === "readwrite") store.count("none").onsuccess = wait;
    else commit.call(this);
  };
  wait();
};
