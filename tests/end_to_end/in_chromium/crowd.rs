//! Peer IDs are free, so a crowd of native peers can dial a tab. It must not take all slots and cut the tab off from
//! the others of its room.

use anyhow::ensure;
use tokio::task::JoinSet;

use super::hostile::{ROOM, connect, honest_responder, room};
use crate::harness::{Outcome, TestEnv, agreement, run_test};

/// The most connections that a tab ever has.
const CROWD: usize = 24;
/// The most inbound peers that a tab accepts.
const MAX_INBOUND: usize = 16;
/// Stop after this many refusals; a single one may be due to a slow machine.
const MAX_REFUSALS: usize = 2;

#[tokio::test]
async fn inbound_crowd_leaves_slots_for_chosen_peers() -> Outcome {
    run_test(async |env: &mut TestEnv| {
        let page = format!("{}#room={ROOM}", env.relay.page());
        let [crowded] = env.tabs_at(&page).await?;
        let mut crowd = JoinSet::new();
        let mut refused = 0;
        while crowd.len() < CROWD && refused < MAX_REFUSALS {
            match connect(env, &crowded, honest_responder(&room()?)).await {
                Ok(mut peer) => {
                    crowd.spawn(async move { peer.run_until_dropped().await });
                }
                Err(_) => refused += 1,
            }
        }

        let [late] = env.tabs_at(&page).await?;
        crowded.enter(72).await?;
        agreement(&[&crowded, &late], 1).await?;
        late.enter(73).await?;
        agreement(&[&crowded, &late], 2).await?;
        ensure!(
            crowd.len() == MAX_INBOUND,
            "{} inbound peers were accepted",
            crowd.len()
        );
        Ok(())
    })
    .await
}
