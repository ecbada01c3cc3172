//! What operators do in a day: keys are turned, a node is backed up, lost and restored, a cut-off is cleared.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::super::input;
use super::{Day, Lost, PATIENCE, POLL};
use crate::cli::CliError;
use crate::cli::process::NodeProcess;
use crate::client::{Client, ClientError, Method};
use crate::service::{
    BackupRequest, BackupView, RotationView, SealingKeyView, StatementView, Status,
};
use crate::{backup, tls};

async fn own_height(client: &Client, day: &Day) -> Result<u64, CliError> {
    let status: Status = day.get(client, "/api/v1/status").await?;
    let own = status.heads.iter().find(|head| head.brand == status.brand);
    Ok(own.map_or(0, |own| own.height))
}

pub(super) fn certificate(tls: &Path) -> Result<Vec<u8>, CliError> {
    fs::read(tls.join(crate::tls::CERTIFICATE_FILE)).map_err(input)
}

/// Where the keys are that are kept apart from a backup.
fn kept(backups: &Path) -> PathBuf {
    backups.join("kept")
}

fn copy_all(from: &Path, to: &Path) -> Result<(), CliError> {
    if !from.is_dir() {
        return fs::copy(from, to).map(drop).map_err(input);
    }
    fs::create_dir(to).map_err(input)?;
    for entry in fs::read_dir(from).map_err(input)? {
        let entry = entry.map_err(input)?;
        copy_all(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

impl Day {
    /// Turns keys at nodes that serve; gives how many.
    pub(super) async fn turn_keys(&self, backups: &Path) -> Result<u64, CliError> {
        let mut turned = 0;
        for client in &self.load.clients {
            let _: SealingKeyView = self.post(client, "/api/v1/sealing-keys", &()).await?;
            turned += 1;
        }
        let client = self.client(1)?;
        let path = "/api/v1/vault/rotation";
        let mut view: RotationView = self.post(client, path, &()).await?;
        let began = Instant::now();
        while view.rotating {
            self.pause(began, path).await?;
            view = self.get(client, path).await?;
        }
        let (client, data) = (self.client(2)?, self.data.get(2).ok_or_else(|| input("no third"))?);
        let next = backups.join("next-tls");
        for file in [tls::KEY_FILE, tls::CERTIFICATE_FILE] {
            let part = data.tls().join("part");
            fs::copy(next.join(file), &part).map_err(input)?;
            fs::rename(part, data.tls().join(file)).map_err(input)?;
        }
        // whoever knows the new one alone gets in
        let fresh = Client::connect(client.address(), &certificate(&next)?)?;
        let began = Instant::now();
        while fresh.send(Method::GET, "/healthz", &[], None).await.is_err() {
            if began.elapsed() > PATIENCE {
                return Err(input("the new certificate is not taken up in time"));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(turned + 2)
    }

    /// Backs the last node up while it serves, and puts aside what is kept elsewhere; gives the seconds.
    pub(super) async fn back_up(&self, backups: &Path) -> Result<f64, CliError> {
        let client = self.client(self.data.len().saturating_sub(1))?;
        let data = self.data.last().ok_or_else(|| input("there is no node"))?;
        let began = Instant::now();
        let folder = backups.join("backup").to_string_lossy().into_owned();
        let request = BackupRequest { folder };
        self.post::<_, ()>(client, "/api/v1/backups", &request).await?;
        loop {
            let view: BackupView = self.get(client, "/api/v1/backups/latest").await?;
            if let Some(failed) = view.failed {
                return Err(input(format!("the backup was not completed: {failed}")));
            }
            if view.done {
                break;
            }
            self.pause(began, "a backup").await?;
        }
        let seconds = began.elapsed().as_secs_f64();
        let kept = kept(backups);
        fs::create_dir(&kept).map_err(input)?;
        for name in ["keys", "tls", "users.json", "operator-password"] {
            copy_all(&data.path().join(name), &kept.join(name))?;
        }
        Ok(seconds)
    }

    /// Takes the last node's process and disk away, and puts it back from backup and keys.
    pub(super) async fn lose_and_restore(
        &self,
        nodes: &mut [NodeProcess],
        backups: &Path,
    ) -> Result<Lost, CliError> {
        let node = nodes.last_mut().ok_or_else(|| input("there is no node"))?;
        let began = Instant::now();
        node.kill().await?;
        let data = node.data().clone();
        fs::remove_dir_all(data.path()).map_err(input)?;
        let (folder, kept, into) = (backups.join("backup"), kept(backups), data.clone());
        let restored =
            tokio::task::spawn_blocking(move || backup::restore(&folder, &into, &kept)).await;
        restored.map_err(input)?.map_err(input)?;
        node.start()?;
        node.answers().await?;
        let answering = began.elapsed().as_secs_f64();
        let client = node.client()?;
        let before = own_height(&client, self).await?;
        let mut ready = None;
        while ready.is_none() {
            let answer = client.send(Method::GET, "/readyz", &[], None).await;
            if answer.is_ok_and(|answer| answer.status.is_success()) {
                ready = Some(began.elapsed().as_secs_f64());
            } else if began.elapsed() > PATIENCE {
                return Err(input("the restored node is not ready in time"));
            }
            tokio::time::sleep(POLL).await;
        }
        while own_height(&client, self).await? <= before {
            if began.elapsed() > PATIENCE {
                return Err(input("the restored node signs no block in time"));
            }
            tokio::time::sleep(POLL).await;
        }
        let own_block = began.elapsed().as_secs_f64();
        let _ = self.loss.set(began);
        Ok(Lost { answering, ready: ready.unwrap_or_default(), own_block })
    }

    /// Closes a cut-off at the first node and waits until every brand has the agreed statement; gives the seconds.
    pub(super) async fn clear(&self) -> Result<f64, CliError> {
        let began = Instant::now();
        let first = self.client(0)?;
        let status: Status = self.get(first, "/api/v1/status").await?;
        let cut_off = status.now_ms - 1;
        let path = format!("/api/v1/clearings/{cut_off}");
        let closing = format!("{path}/closing");
        let _: StatementView = self.post(first, &closing, &()).await?;
        for client in &self.load.clients {
            loop {
                let view: Result<StatementView, ClientError> = client.get(&path).await;
                if view.is_ok_and(|view| ["agreed", "discharged"].contains(&view.state.as_str())) {
                    break;
                }
                if began.elapsed() > PATIENCE {
                    return Err(input("the clearing statement is not agreed in time"));
                }
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(began.elapsed().as_secs_f64())
    }
}
