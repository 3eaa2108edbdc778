//! `kando output`: hand a key and a value to the phase that runs this pod.

use super::put_out::put_out;
use crate::failure::Failure;

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {
    /// Key and value; a value that begins with `-` goes after `--`
    #[arg(value_name = "KEY VALUE", num_args = 0..)]
    pair: Vec<String>,
}

/// Puts it out.
pub fn run(args: &Args) -> Result<(), Failure> {
    let [key, value] = &args.pair[..] else {
        let count = args.pair.len();
        return Err(Failure::usage(format!("Command accepts 2 arguments, received {count} arguments"))
            .hint("kando output KEY VALUE"));
    };
    put_out(key, value)
}
