//! Copies of a log that its server lies about: it claims ever more, withholds what it claims, is silent, slow, or never
//! ends.

use std::sync::Mutex;

use protocol::crypto::SigningKey;
use protocol::ids::RootHash;
use protocol::log::checkpoint::Checkpoint;
use protocol::log::note::KeyName;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;
use crate::tls::{CERTIFICATE_FILE, create, load};

/// So long that only what hangs is cut off by it.
const LONG: Duration = Duration::from_secs(120);
/// What this node has seen certified.
const KNOWN: u64 = 1_000;

/// What a server answers.
enum Reply {
    Missing,
    Whole(Vec<u8>),
    /// One byte after the other, so many, with this time between them.
    Slow(usize, Duration),
    /// A body without an end.
    Endless,
    /// The head of an answer, and no body.
    Headed,
    /// Nothing, and does not hang up.
    Silent,
}

/// A server of a log, with what it was asked for.
struct Liar {
    folder: tempfile::TempDir,
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Liar {
    /// Answers by the name of a file, and by how often it was asked for before.
    async fn answering(answer: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        create(folder.path(), None).unwrap();
        let tls = load(folder.path()).unwrap();
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.current().https));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (heard, answer) = (Arc::clone(&asked), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, heard) = (acceptor.clone(), Arc::clone(&heard));
                let answer = Arc::clone(&answer);
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(tcp).await else { return };
                    while let Some(name) = request(&mut stream).await {
                        let reply = {
                            let mut heard = heard.lock().unwrap();
                            let before = heard.iter().filter(|it| **it == name).count();
                            let reply = answer(&name, before);
                            heard.push(name);
                            reply
                        };
                        if respond(&mut stream, reply).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { folder, port, asked }
    }

    /// The source that a node has of it, with waits that a test has time for.
    fn source(&self) -> Source {
        let trusted = self.folder.path().join(CERTIFICATE_FILE);
        let tls = Arc::new(OutgoingTls::open(Some(&trusted), None).unwrap());
        let waits = Waits { patience: LONG, pause: Duration::from_millis(1), ..WAITS };
        Source::Server(Server { waits, ..Server::new("127.0.0.1".to_owned(), self.port, tls) })
    }

    /// The same with little patience.
    fn hurried(&self) -> Source {
        let Source::Server(server) = self.source() else { unreachable!("it is a server") };
        let waits = Waits { patience: Duration::from_millis(500), ..server.waits };
        Source::Server(Server { waits, ..server })
    }

    /// The folder for its copy.
    fn copy(&self) -> PathBuf {
        self.folder.path().join("copy")
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn times(&self, name: &str) -> usize {
        self.asked().iter().filter(|it| *it == name).count()
    }
}

/// The file that is asked for next over a connection.
async fn request(stream: &mut TlsStream<TcpStream>) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut part = [0; 4096];
        let length = stream.read(&mut part).await.ok().filter(|length| *length > 0)?;
        head.extend_from_slice(part.get(..length)?);
    }
    let head = String::from_utf8(head).ok()?;
    Some(head.split(' ').nth(1)?.trim_start_matches('/').to_owned())
}

async fn respond(stream: &mut TlsStream<TcpStream>, reply: Reply) -> std::io::Result<()> {
    let ok = |length: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
    match reply {
        Reply::Missing => {
            stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await?;
        }
        Reply::Whole(body) => {
            stream.write_all(ok(body.len()).as_bytes()).await?;
            stream.write_all(&body).await?;
        }
        Reply::Slow(length, every) => {
            stream.write_all(ok(length).as_bytes()).await?;
            for _ in 0..length {
                stream.write_all(b"x").await?;
                stream.flush().await?;
                sleep(every).await;
            }
        }
        Reply::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            loop {
                stream.write_all(&[b'x'; 8_192]).await?;
                stream.flush().await?;
            }
        }
        Reply::Headed => {
            stream.write_all(ok(1).as_bytes()).await?;
            stream.flush().await?;
            std::future::pending::<()>().await;
        }
        Reply::Silent => std::future::pending::<()>().await,
    }
    stream.flush().await
}

/// A checkpoint of so many entries: of what root, and by whom, is not looked at here.
fn checkpoint(size: u64) -> Reply {
    let name = KeyName::new("a.example/log").unwrap();
    let key = SigningKey::from_seed(&[7; 32]).unwrap();
    let checkpoint = Checkpoint::new(&name, TreeSize::new(size), RootHash::from_bytes([1; 32]));
    Reply::Whole(SignedCheckpoint::sign(checkpoint, &key).unwrap().to_string().into_bytes())
}

/// Copies the tiles of a log of which 260 entries are certified here, as far as they go.
async fn tiles_by(liar: &Liar) -> Result<TreeSize, CopyError> {
    let (mut source, copy, certified) = (liar.source(), liar.copy(), TreeSize::new(260));
    timeout(LONG, tiles(&mut source, &copy, certified, || KNOWN)).await.unwrap()
}

/// Fails when what a log claims is copied however much that is, and when a log is refused that claims as much as it may.
#[tokio::test]
async fn a_log_is_copied_up_to_a_bound_beyond_what_was_seen_certified() {
    for (more, is_asked) in [(0, true), (1, false)] {
        let claimed = KNOWN + UNSEEN_MAX + more;
        let liar = Liar::answering(move |name, _| match name {
            CHECKPOINT_FILE => checkpoint(claimed),
            _ => Reply::Missing,
        })
        .await;
        let ended = tiles_by(&liar).await;
        if is_asked {
            assert!(matches!(&ended, Err(CopyError::Missing(_))), "{ended:?}");
            assert_eq!(liar.asked(), [CHECKPOINT_FILE, "tile/entries/000"]);
        } else {
            assert!(matches!(&ended, Err(CopyError::TooLong)), "{ended:?}");
            assert_eq!(liar.asked(), [CHECKPOINT_FILE], "nothing of it was asked for");
        }
        assert!(!liar.copy().join(CHECKPOINT_FILE).exists(), "a copy that is not whole");
    }
}

/// Fails when the bound is held against the first checkpoint alone, and the log grows under the hands of who copies it.
#[tokio::test]
async fn a_checkpoint_that_grows_comes_to_the_bound() {
    let liar = Liar::answering(|name, before| match name {
        CHECKPOINT_FILE => checkpoint(301_u64 << (6 * before.min(2))),
        // what is full is there, the newest never is
        _ if name.contains(".p/") => Reply::Missing,
        _ => Reply::Whole(vec![0]),
    })
    .await;
    let ended = tiles_by(&liar).await;
    assert!(matches!(&ended, Err(CopyError::TooLong)), "{ended:?}");
    assert_eq!(liar.times(CHECKPOINT_FILE), 3);
    // of 301 entries one full bundle, of 64 times as many 75
    assert_eq!(liar.times("tile/entries/074"), 1);
    assert_eq!(liar.times("tile/entries/075"), 0);
}

/// Fails when a log that always goes on is copied for ever.
#[tokio::test]
async fn newest_tiles_that_are_never_there_are_asked_for_so_often_and_no_more() {
    let liar = Liar::answering(|name, before| match name {
        CHECKPOINT_FILE => checkpoint(300 + before as u64),
        _ if name.contains(".p/") => Reply::Missing,
        _ => Reply::Whole(vec![0]),
    })
    .await;
    let ended = tiles_by(&liar).await;
    assert!(matches!(&ended, Err(CopyError::Behind)), "{ended:?}");
    assert_eq!(liar.times(CHECKPOINT_FILE), ROUNDS as usize);
    // and so are certificates that were seen elsewhere
    let mut source = liar.source();
    let certified = certified_from(&mut source, &liar.copy(), 1, KNOWN).await;
    assert!(matches!(&certified, Err(CopyError::Behind)), "{certified:?}");
    assert_eq!(liar.times(CERTIFICATES_FILE), BEHIND_TRIES as usize);
}

/// Fails when a server that sends a little from time to time holds the audit up for as long as it likes.
#[tokio::test]
async fn a_body_that_is_slower_than_it_may_be_is_given_up() {
    // whole after five seconds
    let liar = Liar::answering(|_, _| Reply::Slow(250, Duration::from_millis(20))).await;
    let ended = first_checkpoint(&mut liar.hurried(), &liar.copy()).await;
    assert!(matches!(&ended, Err(CopyError::Unreachable)), "{ended:?}");
    assert!(!liar.copy().join(NEXT_FILE).exists());
}

#[tokio::test]
async fn a_server_that_says_nothing_more_is_given_up() {
    for is_headed in [false, true] {
        let liar = Liar::answering(move |_, _| match is_headed {
            true => Reply::Headed,
            false => Reply::Silent,
        })
        .await;
        let (mut source, copy) = (liar.hurried(), liar.copy());
        let ended = timeout(LONG, first_checkpoint(&mut source, &copy)).await.unwrap();
        assert!(matches!(&ended, Err(CopyError::Unreachable)), "{ended:?}");
    }
}

#[tokio::test]
async fn a_body_without_an_end_is_given_up_at_what_its_file_may_have() {
    let liar = Liar::answering(|_, _| Reply::Endless).await;
    let (mut source, copy) = (liar.source(), liar.copy());
    let ended = timeout(LONG, first_checkpoint(&mut source, &copy)).await.unwrap();
    assert!(matches!(&ended, Err(CopyError::TooLong)), "{ended:?}");
    let written = fs::metadata(copy.join(NEXT_FILE).with_extension("new")).unwrap().len();
    assert!(written <= CHECKPOINT_BYTES_MAX, "{written}");
    assert!(!copy.join(NEXT_FILE).exists());
}
