//! Injects one fault into the browser, for tests: reads, writes or deletes of one database record fail, the clock is set
//! back, the disk is small, a database is not opened or is busy, or a browser call never settles. The fault ends when its injector is dropped.

use std::time::Duration;

use js_sys::{Array, Function};
use wasm_bindgen::JsValue;

use crate::clock;

/// A failing request aborts its transaction, as in a real browser.
const ABORT_TRANSACTION: &str = r#"
    const store = IDBObjectStore.prototype;
    const names = [...methods];
    const real = names.map((method) => store[method]);
    const meant = (asked) => asked === undefined
        || (asked instanceof IDBKeyRange ? asked.includes(key) : indexedDB.cmp(asked, key) === 0);
    names.forEach((method, at) => {
        store[method] = function (...given) {
            const request = real[at].apply(this, given);
            const here = this.name === name && this.transaction.db.name === database;
            if (here && meant(given[method === "put" ? 1 : 0])) this.transaction.abort();
            return request;
        };
    });
    return () => names.forEach((method, at) => (store[method] = real[at]));
"#;

const SET_CLOCK_BACK: &str = r#"
    const real = Date.now;
    Date.now = () => real() - by;
    return () => (Date.now = real);
"#;

/// The function that ends the fault returns the number of calls.
const NEVER_SETTLE: &str = r#"
    const { prototype } = globalThis[type];
    const real = prototype[method];
    let calls = 0;
    prototype[method] = () => (calls++, new Promise(() => {}));
    return () => ((prototype[method] = real), calls);
"#;

const UNOPENABLE: &str = r#"
    const { prototype } = IDBFactory;
    const real = prototype.open;
    prototype.open = function (name, ...version) {
        if (name === database) throw new DOMException("not now", "UnknownError");
        return real.call(this, name, ...version);
    };
    return () => (prototype.open = real);
"#;

/// A transaction that stays open keeps all others waiting.
const BUSY: &str = r#"
    let isEnded = false;
    const opening = indexedDB.open(database);
    opening.onsuccess = () => {
        const records = opening.result.transaction(store, "readwrite").objectStore(store);
        const again = () => isEnded ? opening.result.close() : (records.count().onsuccess = again);
        again();
    };
    return () => (isEnded = true);
"#;

const SMALL_DISK: &str = r#"
    const { prototype } = StorageManager;
    const real = prototype.estimate;
    prototype.estimate = async () => ({ usage, quota });
    return () => (prototype.estimate = real);
"#;

/// An injected fault, active until it is dropped. Drop several in reverse order.
#[derive(Debug)]
pub(super) struct FaultInjector {
    end: Function,
}

impl FaultInjector {
    /// Reads of this record fail, as if the browser were about to close the database.
    pub(super) fn unreadable(database: &str, store: &str, key: &JsValue) -> Self {
        Self::refusal(&["get", "getAll"], database, store, key)
    }

    /// Writes of this record fail, as if the disk were full.
    pub(super) fn unwritable(database: &str, store: &str, key: &JsValue) -> Self {
        Self::refusal(&["put"], database, store, key)
    }

    /// Deletions of this record fail.
    pub(super) fn undeletable(database: &str, store: &str, key: &JsValue) -> Self {
        Self::refusal(&["delete"], database, store, key)
    }

    fn refusal(methods: &[&str], database: &str, store: &str, key: &JsValue) -> Self {
        let methods: Array = methods.iter().copied().map(JsValue::from_str).collect();
        let given = [methods.into(), database.into(), store.into(), key.clone()];
        Self::begin("methods, database, name, key", ABORT_TRANSACTION, &given)
    }

    /// The computer's clock shows an earlier time.
    pub(super) fn clock_set_back(by: Duration) -> Self {
        // No test sets the clock back by 2^53 ms.
        #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
        let by = clock::millis(by) as f64;
        Self::begin("by", SET_CLOCK_BACK, &[by.into()])
    }

    /// Calls of this browser method return a promise that never settles.
    pub(super) fn unresponsive(of: &str, method: &str) -> Self {
        Self::begin("type, method", NEVER_SETTLE, &[of.into(), method.into()])
    }

    /// The browser does not open this database.
    pub(super) fn unopenable(database: &str) -> Self {
        Self::begin("database", UNOPENABLE, &[database.into()])
    }

    /// Requests to this object store get no answer. Both must exist.
    pub(super) fn busy(database: &str, store: &str) -> Self {
        Self::begin("database, store", BUSY, &[database.into(), store.into()])
    }

    /// The browser reports this storage usage and quota, in bytes.
    pub(super) fn small_disk(usage: u32, quota: u32) -> Self {
        Self::begin("usage, quota", SMALL_DISK, &[usage.into(), quota.into()])
    }

    fn begin<const N: usize>(names: &str, body: &str, given: &[JsValue; N]) -> Self {
        let begin = Function::new_with_args(names, body);
        let given: Array = given.iter().collect();
        let end = begin.apply(&JsValue::NULL, &given).expect("it runs");
        Self { end: end.into() }
    }

    /// Ends the fault. Returns how often an unresponsive method was called.
    pub(super) fn calls(self) -> Option<f64> {
        let calls = self.end.call0(&JsValue::NULL).expect("it runs");
        std::mem::forget(self);
        calls.as_f64()
    }
}

impl Drop for FaultInjector {
    fn drop(&mut self) {
        self.end.call0(&JsValue::NULL).expect("it runs");
    }
}
