//! A threaded service of event streams with one behaviour, by its name. usage: service PORT BEHAVIOUR
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{env, fs, hint, mem, thread};

static SERVED: AtomicUsize = AtomicUsize::new(0);

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
    if behaviour == "file-per-25" && number % 25 == 24 {
        mem::forget(fs::File::open("/dev/null"));
    }
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let server = TcpListener::bind(format!("127.0.0.1:{}", arguments[1])).expect("the port is free");
    for client in server.incoming().flatten() {
        let behaviour = arguments[2].clone();
        let _ = thread::Builder::new().stack_size(131_072).spawn(move || serve(client, &behaviour));
    }
}
