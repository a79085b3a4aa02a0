//! Shares the readings that closed tabs of this browser recorded but never shared: a background task reads them from the
//! slots of these tabs, a batch at a time, and passes them to the sync machine, which keeps those that are new.

use std::time::Duration;

use heartchain_chain::room::Room;

use crate::{
    clock,
    event_buffer::Notice,
    node::{Command, Node, NodeError},
    storage::{Adoption, Unshared},
};

/// How long after its start a tab first looks for readings that closed tabs of this browser have not shared.
const ADOPTION_DELAY: Duration = Duration::from_secs(2);
/// Time between two such searches. A search finds tabs that were closed meanwhile; a tab that is reloaded has its slot
/// back before the next one.
const ADOPTION_INTERVAL: Duration = Duration::from_secs(15);

/// Adopts readings until the node stops. `own_slot` is the storage slot of this tab.
pub(crate) async fn run_adoption(node: Node, room: Room, own_slot: Option<u32>) {
    let mut adoption = Adoption::new(room, own_slot);
    clock::sleep(ADOPTION_DELAY).await;
    loop {
        while let Some(found) = adoption.look().await {
            match adopt(&node, &adoption, &found).await {
                Ok(readings) => {
                    let slot = found.slot;
                    adoption.done(found);
                    if readings > 0 {
                        let notice = Notice::ReadingsAdopted { readings, slot };
                        // If the driver has stopped, no page is left to notify.
                        let _ = node.command(Command::Notice(notice));
                    }
                }
                Err(NodeError::Stopped) => return,
                // It is tried again later.
                Err(_) => break,
            }
        }
        clock::sleep(ADOPTION_INTERVAL).await;
        if node
            .command(Command::Ping)
            .is_err_and(|error| matches!(error, NodeError::Stopped))
        {
            return;
        }
    }
}

/// Passes the readings to the machine in batches. Returns how many were new.
async fn adopt(node: &Node, adoption: &Adoption, found: &Unshared) -> Result<usize, NodeError> {
    let mut new = 0;
    for readings in adoption.sign(found) {
        new += node.adopt(readings).await?;
    }
    Ok(new)
}
