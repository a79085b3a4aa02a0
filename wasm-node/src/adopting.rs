//! Takes over, from time to time, what closed tabs of this browser have recorded and not shared, until the node stops.
//! Finds nothing itself and decides nothing: `storage` finds, the machine judges.

use chain::{reading::Reading, room::Room};
use futures::channel::oneshot;
use sync::seam::AdoptError;

use crate::{
    bulletin::Notice,
    clock,
    config::{ADOPTION_DELAY, ADOPTION_INTERVAL},
    node::{Node, NodeError, Wish},
    storage::{Adoption, Unshared},
};

/// Why a closed tab's readings were not taken over. They are looked at again later.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Machine(#[from] AdoptError),
}

/// Looks, for as long as the node runs. `own` is the slot that this tab has itself.
pub(crate) async fn adopt(node: Node, room: Room, own: Option<u32>) {
    let mut adoption = Adoption::new(room, own);
    clock::sleep(ADOPTION_DELAY).await;
    loop {
        while let Some(found) = adoption.look().await {
            match take_over(&node, &adoption, &found).await {
                Ok(readings) => {
                    let slot = found.slot;
                    adoption.done(found);
                    if readings > 0 {
                        let notice = Notice::ReadingsAdopted { readings, slot };
                        // If the driver is gone so is the page.
                        let _ = node.wish(Wish::Notice(notice));
                    }
                }
                Err(Failure::Node(NodeError::Stopped)) => return,
                Err(_) => break,
            }
        }
        clock::sleep(ADOPTION_INTERVAL).await;
        if node
            .wish(Wish::Look)
            .is_err_and(|error| matches!(error, NodeError::Stopped))
        {
            return;
        }
    }
}

/// Gives them to the machine, a part at a time. Returns how many were new.
async fn take_over(node: &Node, adoption: &Adoption, found: &Unshared) -> Result<usize, Failure> {
    let mut new = 0;
    for readings in adoption.sign(found) {
        new += adopt_part(node, readings).await?;
    }
    Ok(new)
}

async fn adopt_part(node: &Node, readings: Vec<Reading>) -> Result<usize, Failure> {
    let (reply, answer) = oneshot::channel();
    node.wish(Wish::Adopt(readings, reply))?;
    Ok(answer.await.map_err(|_| NodeError::Stopped)??)
}
