//! Opens the database of a slot, whatever state it is in: new, of an older version, or incomplete.

use idb::{Database, Factory};

use super::{
    health::Reason,
    rebuilding::Rebuilding,
    schema::{Connection, Migration, OPEN_TIMEOUT, STORES, open_with_timeout},
};

/// Opens a database; creates, migrates or rebuilds it if necessary.
///
/// # Errors
/// If the browser refuses, or a newer version of this page has upgraded the database.
pub(super) async fn open(
    name: &str,
    migrations: &'static [Migration],
) -> Result<Connection, Reason> {
    let factory = Factory::new().map_err(|_| Reason::NoDatabase)?;
    let database = open_with_timeout(&factory, name, migrations, OPEN_TIMEOUT).await?;
    let rebuilding = Rebuilding::new(&factory, name, migrations);
    let rebuilt = if has_all_stores(&database) {
        rebuilding.resume(database).await
    } else {
        rebuilding.start(database).await
    };
    rebuilt.map_err(|_| Reason::Blocked)
}

fn has_all_stores(database: &Database) -> bool {
    let stores = database.store_names();
    let has = |store: &&str| stores.iter().any(|has| has == store);
    STORES.iter().all(has)
}
