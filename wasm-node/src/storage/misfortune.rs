//! What may befall a store, for tests of what comes of it: a record of one database that cannot be read, written or deleted, a
//! clock that is put back, a disk that is small, a browser that never answers. Touches nothing else, and ends when it is dropped.

use std::time::Duration;

use js_sys::{Array, Function};
use wasm_bindgen::JsValue;

use crate::clock;

/// Such a request takes its transaction with it, as a real one does.
const REFUSE: &str = r#"
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

const PUT_BACK: &str = r#"
    const real = Date.now;
    Date.now = () => real() - by;
    return () => (Date.now = real);
"#;

/// Gives the number of calls when it ends.
const SILENCE: &str = r#"
    const { prototype } = globalThis[type];
    const real = prototype[method];
    let calls = 0;
    prototype[method] = () => (calls++, new Promise(() => {}));
    return () => ((prototype[method] = real), calls);
"#;

const SMALL_DISK: &str = r#"
    const { prototype } = StorageManager;
    const real = prototype.estimate;
    prototype.estimate = async () => ({ usage, quota });
    return () => (prototype.estimate = real);
"#;

/// It lasts while this lives. Of several the last one ends first.
#[derive(Debug)]
pub(super) struct Misfortune {
    end: Function,
}

impl Misfortune {
    /// Whoever reads this record gets an error, as if the browser were about to close the database.
    pub(super) fn unreadable(database: &str, store: &str, key: &JsValue) -> Self {
        Self::refusal(&["get", "getAll"], database, store, key)
    }

    /// Whoever writes this record gets an error, as if the disk were full.
    pub(super) fn unwritable(database: &str, store: &str, key: &JsValue) -> Self {
        Self::refusal(&["put"], database, store, key)
    }

    /// Whoever deletes this record gets an error.
    pub(super) fn undeletable(database: &str, store: &str, key: &JsValue) -> Self {
        Self::refusal(&["delete"], database, store, key)
    }

    fn refusal(methods: &[&str], database: &str, store: &str, key: &JsValue) -> Self {
        let methods: Array = methods.iter().copied().map(JsValue::from_str).collect();
        let given = [methods.into(), database.into(), store.into(), key.clone()];
        Self::begin("methods, database, name, key", REFUSE, &given)
    }

    /// The computer's clock shows an earlier time.
    pub(super) fn clock_put_back(by: Duration) -> Self {
        // No test puts it back by 2^53 ms.
        #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
        let by = clock::millis(by) as f64;
        Self::begin("by", PUT_BACK, &[by.into()])
    }

    /// Whoever calls this method of the browser's waits for an answer without end.
    pub(super) fn silence(of: &str, method: &str) -> Self {
        Self::begin("type, method", SILENCE, &[of.into(), method.into()])
    }

    /// The browser says that so many bytes are used, and so many may be.
    pub(super) fn small_disk(usage: u32, quota: u32) -> Self {
        Self::begin("usage, quota", SMALL_DISK, &[usage.into(), quota.into()])
    }

    fn begin<const N: usize>(names: &str, body: &str, given: &[JsValue; N]) -> Self {
        let begin = Function::new_with_args(names, body);
        let given: Array = given.iter().collect();
        let end = begin.apply(&JsValue::NULL, &given).expect("it runs");
        Self { end: end.into() }
    }

    /// Ends it. Returns how often a method was called that never answered.
    pub(super) fn calls(self) -> Option<f64> {
        let calls = self.end.call0(&JsValue::NULL).expect("it runs");
        std::mem::forget(self);
        calls.as_f64()
    }
}

impl Drop for Misfortune {
    fn drop(&mut self) {
        self.end.call0(&JsValue::NULL).expect("it runs");
    }
}
