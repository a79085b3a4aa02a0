//! A browser that refuses, for tests of what comes of it: one record of one database cannot be read, or not be written.
//! Each such request takes its transaction with it, as with a real one. Touches no other record.

use js_sys::{Array, Function};
use wasm_bindgen::JsValue;

/// Puts other methods in the place of a store's, and returns those that were there.
const REFUSE: &str = r#"
    const store = IDBObjectStore.prototype;
    const names = [...methods];
    const real = names.map((method) => store[method]);
    const meant = (asked) => asked === undefined
        || (asked instanceof IDBKeyRange ? asked.includes(key) : indexedDB.cmp(asked, key) === 0);
    for (const method of names) {
        const real = store[method];
        store[method] = function (...given) {
            const request = real.apply(this, given);
            const here = this.name === name && this.transaction.db.name === database;
            if (here && meant(given[method === "put" ? 1 : 0])) this.transaction.abort();
            return request;
        };
    }
    return () => names.forEach((method, at) => (store[method] = real[at]));
"#;

/// While it lives the record is refused. Of several the last one goes first.
#[derive(Debug)]
pub(super) struct Refusal {
    end: Function,
}

impl Refusal {
    /// Whoever reads this record gets an error, as if the browser were about to close the database.
    pub(super) fn to_read(database: &str, store: &str, key: &JsValue) -> Self {
        Self::of(&["get", "getAll"], database, store, key)
    }

    /// Whoever writes this record gets an error, as if the disk were full.
    pub(super) fn to_write(database: &str, store: &str, key: &JsValue) -> Self {
        Self::of(&["put"], database, store, key)
    }

    fn of(methods: &[&str], database: &str, store: &str, key: &JsValue) -> Self {
        let refuse = Function::new_with_args("methods, database, name, key", REFUSE);
        let methods: Array = methods.iter().copied().map(JsValue::from_str).collect();
        let given = Array::of4(&methods, &database.into(), &store.into(), key);
        let end = refuse.apply(&JsValue::NULL, &given).expect("it runs");
        Self { end: end.into() }
    }
}

impl Drop for Refusal {
    fn drop(&mut self) {
        self.end.call0(&JsValue::NULL).expect("it runs");
    }
}
