//! `kando output`: hand a key and a value to the phase that runs this pod.

use crate::failure::Failure;
use crate::show;
use cistern_api::wire::output_line;

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {
    /// Key and value; a value that begins with `-` goes after `--`
    #[arg(value_name = "KEY VALUE", num_args = 0..)]
    pair: Vec<String>,
}

/// Prints the line.
pub fn run(args: &Args) -> Result<(), Failure> {
    let [key, value] = &args.pair[..] else {
        let count = args.pair.len();
        return Err(Failure::usage(format!("Command accepts 2 arguments, received {count} arguments"))
            .hint("kando output KEY VALUE"));
    };
    let line = output_line(key, value).map_err(|e| Failure::usage(e.to_string()))?;
    show::raw(line.as_bytes())
}
