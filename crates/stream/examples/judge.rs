//! Judges the dump on standard input: `pg_dump shop | cargo run -q --example judge`.

use cistern_stream::{Sniffer, gzip};
use std::io::Read;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut sniffer = Sniffer::new();
    let mut unwrapper = gzip::Unwrapper::new(gzip::Limits::default());
    let mut buffer = vec![0; 1 << 20];
    let mut stdin = std::io::stdin().lock();
    loop {
        match stdin.read(&mut buffer)? {
            0 => break,
            len => unwrapper.push(&buffer[..len], &mut |content| sniffer.push(content))?,
        }
    }
    let segments = unwrapper.finish()?;
    println!("{:?} in {} segments", sniffer.finish(), segments.len());
    Ok(())
}
