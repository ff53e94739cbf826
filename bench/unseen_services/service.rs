//! A threaded service of event streams with one behaviour, by its name. usage: service PORT BEHAVIOUR
use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Condvar, Mutex, Weak};
use std::time::Duration;
use std::{env, fs, hint, mem, thread};

static SERVED: AtomicUsize = AtomicUsize::new(0);
static ENDED: Mutex<Vec<fs::File>> = Mutex::new(Vec::new());
static CLIENTS: Mutex<Vec<mpsc::Sender<String>>> = Mutex::new(Vec::new());
static BOARDS: Mutex<Vec<Weak<Board>>> = Mutex::new(Vec::new());
static ACCOUNTS: Mutex<Option<HashMap<String, Account>>> = Mutex::new(None);
static JOURNAL: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

extern "C" {
    fn setsockopt(socket: i32, level: i32, name: i32, value: *const i32, length: u32) -> i32;
    fn setrlimit(resource: i32, limit: *const [u64; 2]) -> i32;
}

/// The state of a tenant, which stays.
struct Account {
    _log: fs::File,
    recent: Vec<u8>,
}

/// Notes a request of the tenant that the header X-Tenant names.
fn note_account(request: &str) {
    let header = request.lines().find_map(|line| line.to_lowercase().strip_prefix("x-tenant:").map(str::to_owned));
    let Some(tenant) = header else { return };
    let mut accounts = ACCOUNTS.lock().expect("no thread panics");
    let account = accounts.get_or_insert_with(HashMap::new).entry(tenant).or_insert_with(|| Account {
        _log: fs::File::open("/dev/zero").expect("a descriptor is left"),
        recent: vec![4u8; 30_000],
    });
    account.recent[0] = account.recent[0].wrapping_add(1);
}

/// What one client has yet to get: 320 kB at most, else the oldest is dropped.
#[derive(Default)]
struct Board {
    waiting: Mutex<(VecDeque<String>, usize)>,
    arrived: Condvar,
}

impl Board {
    fn put(&self, text: String) {
        let mut waiting = self.waiting.lock().expect("no thread panics");
        waiting.1 += text.len();
        waiting.0.push_back(text);
        while waiting.1 > 320_000 {
            let oldest = waiting.0.pop_front().map_or(0, |text| text.len());
            waiting.1 -= oldest;
        }
        self.arrived.notify_one();
    }

    fn take(&self) -> String {
        let mut waiting = self.waiting.lock().expect("no thread panics");
        loop {
            if let Some(text) = waiting.0.pop_front() {
                waiting.1 -= text.len();
                return text;
            }
            waiting = self.arrived.wait(waiting).expect("no thread panics");
        }
    }
}

/// 110 kB a second to every client.
fn post() {
    for number in 0u64.. {
        let text = format!("id: {number}\ndata: {}\n\n", "p".repeat(5480));
        let boards: Vec<_> = {
            let mut boards = BOARDS.lock().expect("no thread panics");
            boards.retain(|board| board.strong_count() > 0);
            boards.iter().filter_map(Weak::upgrade).collect()
        };
        for board in boards {
            board.put(text.clone());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Sends what is posted at the pace of the reader.
fn send_board(mut client: TcpStream) {
    let bytes = 18_432i32;
    unsafe { setsockopt(client.as_raw_fd(), 1, 7, &bytes, 4) }; // SOL_SOCKET, SO_SNDBUF
    let board = Arc::new(Board::default());
    BOARDS.lock().expect("no thread panics").push(Arc::downgrade(&board));
    while client.write_all(board.take().as_bytes()).is_ok() {}
}

/// Closes the files of the streams that ended, every 19 s.
fn reap() {
    loop {
        thread::sleep(Duration::from_secs(19));
        ENDED.lock().expect("no thread panics").clear();
    }
}

/// 27 kB a second to the queue of every client.
fn publish() {
    for number in 0u64.. {
        let text = format!("id: {number}\ndata: {}\n\n", "b".repeat(1700));
        CLIENTS.lock().expect("no thread panics").retain(|client| client.send(text.clone()).is_ok());
        thread::sleep(Duration::from_millis(62));
    }
}

/// Sends what is published at the pace of the reader. Nothing limits the queue, which ends with the stream.
fn send_queue(mut client: TcpStream) {
    let bytes = 20_480i32;
    unsafe { setsockopt(client.as_raw_fd(), 1, 7, &bytes, 4) }; // SOL_SOCKET, SO_SNDBUF
    let (sender, queue) = mpsc::channel();
    CLIENTS.lock().expect("no thread panics").push(sender);
    for text in queue {
        if client.write_all(text.as_bytes()).is_err() {
            break;
        }
    }
}

/// A journal in memory that gets 260 kB a second.
fn write_journal() {
    loop {
        JOURNAL.lock().expect("no thread panics").push(vec![3u8; 13_000]);
        thread::sleep(Duration::from_millis(50));
    }
}

fn serve(mut client: TcpStream, behaviour: &str) {
    let number = SERVED.fetch_add(1, Ordering::Relaxed);
    let mut request = [0u8; 4096];
    let Ok(got @ 1..) = client.read(&mut request) else { return };
    if behaviour == "accounts-80" {
        note_account(&String::from_utf8_lossy(&request[..got]));
    }
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    if client.write_all(head.as_bytes()).is_err() {
        return;
    }
    if behaviour == "backlog" {
        return send_queue(client);
    }
    if behaviour == "board-320" {
        return send_board(client);
    }
    let _ = client.set_read_timeout(Some(Duration::from_millis(100)));
    let mut transcript = Vec::new(); // of what was sent, until the stream ends
    for event in 0.. {
        if client.write_all(format!("id: {event}\ndata: tick\n\n").as_bytes()).is_err() {
            break;
        }
        if behaviour == "tick-17" {
            thread::sleep(Duration::from_secs(17)); // it reads nothing: a departure is noticed by a write alone
            continue;
        }
        if behaviour == "transcript-3000" {
            transcript.push(hint::black_box(vec![event as u8; 3000]));
        }
        if behaviour == "bytes-per-event" {
            mem::forget(hint::black_box(vec![1u8; 2500]));
        }
        match client.read(&mut request) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Ok(got) if got > 0 => {}
            _ => break,
        }
    }
    if behaviour == "drain-11" {
        let _ = client.shutdown(Shutdown::Write);
        thread::sleep(Duration::from_secs(11)); // for what the client may still have sent
    }
    if behaviour == "reaper-19" {
        ENDED.lock().expect("no thread panics").extend(fs::File::open("/dev/zero"));
    }
    if behaviour == "bytes-19000" {
        mem::forget(hint::black_box(vec![2u8; 19_000]));
    }
    if behaviour == "acceptor-410" && number % 2 == 1 {
        mem::forget(fs::File::open("/dev/zero"));
    }
    if behaviour == "file-per-25" && number % 25 == 24 {
        mem::forget(fs::File::open("/dev/null"));
    }
}

fn accept_until_an_error(server: TcpListener) {
    for client in server.incoming() {
        let Ok(client) = client else { return };
        let _ = thread::Builder::new().stack_size(131_072).spawn(move || serve(client, "acceptor-410"));
    }
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let server = TcpListener::bind(format!("127.0.0.1:{}", arguments[1])).expect("the port is free");
    let _ = match arguments[2].as_str() {
        "reaper-19" => Some(thread::spawn(reap)),
        "backlog" => Some(thread::spawn(publish)),
        "journal" => Some(thread::spawn(write_journal)),
        "board-320" => Some(thread::spawn(post)),
        "acceptor-410" => {
            assert_eq!(unsafe { setrlimit(7, &[410, 410]) }, 0); // RLIMIT_NOFILE
            thread::spawn(move || accept_until_an_error(server)).join().expect("no thread panics");
            loop {
                thread::park(); // nothing notices that the acceptor has ended
            }
        }
        _ => None,
    };
    for client in server.incoming().flatten() {
        let behaviour = arguments[2].clone();
        let _ = thread::Builder::new().stack_size(131_072).spawn(move || serve(client, &behaviour));
    }
}
