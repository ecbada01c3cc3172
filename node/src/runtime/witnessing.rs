//! What the runtime does for, and asks of, witnesses outside the alliance.
//!
//! A cosignature is told when what it promises is in the journal. A witness that is asked answers a
//! task of its own: the loop never waits for it.

use std::path::Path;
use std::sync::Arc;

use protocol::log::checkpoint::SignedCheckpoint;
use protocol::log::tlog_witness::{AddCheckpoint, Answer, OutsideError, OutsideWitness, Refusal};

use super::core::Turn;
use super::{Internal, Runtime, now};
use crate::config::Witnessing;
use crate::exchange::record::NodeRecord;
use crate::outside::{HttpAnswer, OutsideClient, OutsideError as ClientError, SharedClient};

/// One witness that is asked.
pub(super) struct Asked {
    witness: OutsideWitness,
    client: SharedClient,
    under_way: bool,
}

/// What a witness said, or that it did not.
pub(super) struct Heard {
    witness: usize,
    checkpoint: SignedCheckpoint,
    answer: Result<HttpAnswer, ClientError>,
}

/// The witnesses of the settings; relative paths of certificates are from the data directory.
///
/// # Errors
/// When one cannot be used.
pub(super) fn asked(settings: &Witnessing, data: &Path) -> Result<Vec<Asked>, ClientError> {
    let asked = settings.ask.iter().map(|witness| {
        let own = witness.own_under(data);
        let client = OutsideClient::new(&witness.url, witness.trusted.as_deref(), own.as_ref())?;
        let state = OutsideWitness::new(witness.key.0.clone());
        Ok(Asked { witness: state, client: Arc::new(client), under_way: false })
    });
    asked.collect()
}

impl Runtime {
    /// Answers another log's request for a cosignature.
    pub(super) fn add_checkpoint(
        &mut self,
        request: &AddCheckpoint,
        turn: &mut Turn,
    ) -> Result<String, Refusal> {
        let foreign = &mut self.core.foreign;
        let granted = self.core.ledger.add_checkpoint(request, foreign, now());
        if let Err(Refusal::Inconsistent) = &granted {
            let origin = request.unverified().origin();
            tracing::warn!(log = %origin, "a log has asked for a cosignature of a tree that does not continue what it had");
        }
        if let Err(Refusal::Restored { incarnation }) = &granted {
            let (origin, number) = (request.unverified().origin(), incarnation.get());
            self.core.alert(format!(
                "the foreign log {origin} is not cosigned: this node was put back to an older state and may have cosigned more since. When you have made sure with that log or its monitors that it has not, set confirmed_restore = {number} under [witnessing] in node.toml / \
                 未为外部日志 {origin} 联署：本节点曾恢复到较早状态，此后可能已联署过更新的检查点。向该日志或其监督者核实并无更新后，在 node.toml 的 [witnessing] 下设置 confirmed_restore = {number}"
            ));
        }
        let granted = granted?;
        if let Some(cosigned) = granted.record {
            let record = NodeRecord::Cosigned(cosigned);
            self.core.cosigned(&record);
            turn.record(record);
        }
        Ok(format!("{}\n", granted.line))
    }

    /// Asks witnesses for a cosignature of the own checkpoint, now that it is published.
    pub(super) fn ask_witnesses(&mut self) {
        let Some(checkpoint) = self.core.shown_checkpoint().cloned() else { return };
        let checkpoint = &checkpoint;
        let at = now();
        for (number, asked) in self.asked.iter_mut().enumerate() {
            if asked.under_way || !asked.witness.is_due(checkpoint, at) {
                continue;
            }
            let reader = self.core.published.reader(checkpoint.unverified().size());
            let Ok(request) = asked.witness.request(checkpoint, &reader) else {
                asked.witness.failed(at);
                continue;
            };
            asked.under_way = true;
            let (client, back) = (Arc::clone(&asked.client), self.back.clone());
            let checkpoint = checkpoint.clone();
            tokio::spawn(async move {
                let answer = client.add_checkpoint(request.to_string()).await;
                let heard = Heard { witness: number, checkpoint, answer };
                // a runtime that has ended asks no more
                let _ = back.send(Internal::Witness(Box::new(heard))).await;
            });
        }
    }

    /// Takes what a witness has said.
    pub(super) fn witness_answered(&mut self, heard: Heard) {
        let Some(asked) = self.asked.get_mut(heard.witness) else { return };
        asked.under_way = false;
        let key = asked.witness.key().clone();
        let answer = match &heard.answer {
            Ok(answer) => answer,
            Err(error) => {
                asked.witness.failed(now());
                tracing::warn!(witness = %key.name(), error = %error, "a witness was asked in vain");
                return;
            }
        };
        let answer = Answer { status: answer.status, body: &answer.body };
        match asked.witness.answered(&heard.checkpoint, answer, now()) {
            Ok(None) => {}
            Ok(Some(line)) => {
                let added = self.core.ledger.add_outside_cosignature(&heard.checkpoint, &key, line);
                let written =
                    added.map(|checkpoint| self.core.published.write_witnessed(&checkpoint));
                match written {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => self.core.alert_error(&error),
                    Err(error) => {
                        tracing::warn!(witness = %key.name(), error = %error, "a cosignature has no place");
                    }
                }
            }
            Err(error) => {
                tracing::warn!(witness = %key.name(), error = %error, "a witness does not cosign");
                if let OutsideError::AheadOfUs { .. } = error {
                    let name = key.name();
                    self.core.alert(format!(
                        "witness {name}: {error} / 见证方 {name} 联署过比本节点更新的检查点：{error}"
                    ));
                }
            }
        }
    }
}
