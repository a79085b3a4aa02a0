//! Names cost nothing: a crowd of native peers calls a tab, and cannot keep it apart from the others of its room.

use anyhow::ensure;
use tokio::task::JoinSet;

use super::hostile::{ROOM, honest_answers, meet, room};
use crate::harness::{Outcome, Stage, agreement, on_stage};

/// As many as a tab is ever connected to.
const CROWD: usize = 24;
/// As many of them as it lets in.
const GUESTS: usize = 16;
/// So many times refused, nobody is let in: once may be the machine's fault.
const REFUSED: usize = 2;

#[tokio::test]
async fn a_crowd_that_calls_a_tab_leaves_it_places_for_peers_that_it_chooses() -> Outcome {
    on_stage(async |stage: &mut Stage| {
        let page = format!("{}#room={ROOM}", stage.relay.page());
        let [crowded] = stage.tabs_at(&page).await?;
        let mut crowd = JoinSet::new();
        let mut refused = 0;
        while crowd.len() < CROWD && refused < REFUSED {
            match meet(stage, &crowded, honest_answers(&room()?)).await {
                Ok(mut stranger) => {
                    crowd.spawn(async move { stranger.linger().await });
                }
                Err(_) => refused += 1,
            }
        }

        let [late] = stage.tabs_at(&page).await?;
        crowded.enter(72).await?;
        agreement(&[&crowded, &late], 1).await?;
        late.enter(73).await?;
        agreement(&[&crowded, &late], 2).await?;
        ensure!(crowd.len() == GUESTS, "{} were let in", crowd.len());
        Ok(())
    })
    .await
}
