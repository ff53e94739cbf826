//! A threaded service of event streams with one behaviour, by its name. usage: service PORT BEHAVIOUR
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Mutex};
use std::time::Duration;
use std::{env, fs, hint, mem, thread};

static SERVED: AtomicUsize = AtomicUsize::new(0);
static ENDED: Mutex<Vec<fs::File>> = Mutex::new(Vec::new());
static CLIENTS: Mutex<Vec<mpsc::Sender<String>>> = Mutex::new(Vec::new());
static JOURNAL: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

extern "C" {
    fn setsockopt(socket: i32, level: i32, name: i32, value: *const i32, length: u32) -> i32;
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
    if !matches!(client.read(&mut request), Ok(got) if got > 0) {
        return;
    }
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    if client.write_all(head.as_bytes()).is_err() {
        return;
    }
    if behaviour == "backlog" {
        return send_queue(client);
    }
    let _ = client.set_read_timeout(Some(Duration::from_millis(100)));
    for event in 0.. {
        if client.write_all(format!("id: {event}\ndata: tick\n\n").as_bytes()).is_err() {
            break;
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
    if behaviour == "reaper-19" {
        ENDED.lock().expect("no thread panics").extend(fs::File::open("/dev/zero"));
    }
    if behaviour == "bytes-19000" {
        mem::forget(hint::black_box(vec![2u8; 19_000]));
    }
    if behaviour == "file-per-25" && number % 25 == 24 {
        mem::forget(fs::File::open("/dev/null"));
    }
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let server = TcpListener::bind(format!("127.0.0.1:{}", arguments[1])).expect("the port is free");
    let _ = match arguments[2].as_str() {
        "reaper-19" => Some(thread::spawn(reap)),
        "backlog" => Some(thread::spawn(publish)),
        "journal" => Some(thread::spawn(write_journal)),
        _ => None,
    };
    for client in server.incoming().flatten() {
        let behaviour = arguments[2].clone();
        let _ = thread::Builder::new().stack_size(131_072).spawn(move || serve(client, &behaviour));
    }
}
