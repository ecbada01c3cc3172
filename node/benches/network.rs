//! What the network carries on loopback: `cargo bench -p node --bench network --profile dev`.
//!
//! Prints the round trip of a small message, then messages of 1 KiB per second and bytes of 1 MiB
//! messages per second, one way between two nodes of one process.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use node::net::{
    Bytes, Inbound, Inbox, Limits, Network, NetworkConfig, NetworkHandle, Peer, public_key,
};
use node::telemetry::Counters;
use protocol::ids::BrandId;

type Failure = Box<dyn std::error::Error>;

async fn start(
    seed: u8,
    peer: &str,
    peer_seed: u8,
    address: SocketAddr,
) -> Result<(NetworkHandle, Inbox), Failure> {
    let peer =
        Peer { brand: BrandId::new(peer)?, public_key: public_key([peer_seed; 32]), address };
    let config = NetworkConfig {
        identity_seed: [seed; 32],
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        peers: vec![peer],
        // not to measure the limit
        limits: Limits {
            messages_per_second: u32::MAX,
            bytes_per_second: u32::MAX,
            ..Limits::default()
        },
        counters: Counters::default(),
    };
    Ok(Network::start(config).await?)
}

async fn receive(inbox: &mut Inbox, count: usize) -> Result<(), Failure> {
    let mut received = 0;
    while received < count {
        match inbox.recv().await.ok_or("the network ended")? {
            Inbound::Message { .. } => received += 1,
            Inbound::Connected(_) => {}
            Inbound::Disconnected(brand) => return Err(format!("lost {brand}").into()),
        }
    }
    Ok(())
}

async fn one_way(
    from: &NetworkHandle,
    to: BrandId,
    inbox: &mut Inbox,
    length: usize,
    count: usize,
) -> Result<Duration, Failure> {
    let started = Instant::now();
    let message = Bytes::from(vec![7; length]);
    let from = from.clone();
    let sender = tokio::spawn(async move {
        for _ in 0..count {
            from.send_when_possible(to, message.clone()).await?;
        }
        Ok::<_, node::net::SendError>(())
    });
    receive(inbox, count).await?;
    sender.await??;
    Ok(started.elapsed())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let unknown = SocketAddr::from(([127, 0, 0, 1], 9));
    let (a, b) = (BrandId::new("a")?, BrandId::new("b")?);
    let (at_a, mut inbox_a) = start(1, "b", 2, unknown).await?;
    let (at_b, mut inbox_b) = start(2, "a", 1, at_a.local_address()).await?;
    while at_a.connected().is_empty() || at_b.connected().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let mut trips = Vec::new();
    for _ in 0..2000 {
        let started = Instant::now();
        at_a.send(b, vec![1; 200])?;
        receive(&mut inbox_b, 1).await?;
        at_b.send(a, vec![1; 200])?;
        receive(&mut inbox_a, 1).await?;
        trips.push(started.elapsed());
    }
    trips.sort_unstable();
    println!("round trip of 200 B   p50 {:?}, p99 {:?}", trips[1000], trips[1980]);

    let took = one_way(&at_a, b, &mut inbox_b, 1024, 50_000).await?;
    println!("messages of 1 KiB     {:.0} a second", 50_000.0 / took.as_secs_f64());
    let took = one_way(&at_a, b, &mut inbox_b, 1 << 20, 512).await?;
    println!("messages of 1 MiB     {:.0} MiB a second", 512.0 / took.as_secs_f64());
    Ok(())
}
