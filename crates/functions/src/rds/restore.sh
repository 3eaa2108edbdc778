# Brings databases back from a tar.gz of dumps. Nothing is touched before all of it is here and whole.
profile=$1 path=$2
login=/var/run/cistern/profile
PGUSER=$(cat "$login/username")
PGPASSWORD=$(cat "$login/password")
export PGUSER PGPASSWORD

cd /backup
kando location pull --profile "$profile" --path "$path" - | gunzip -c -f | tar -xf -
dumps=(backup/*.sql)
[ -e "${dumps[0]}" ] || { echo "there are no dumps in $path" >&2; exit 1; }

# What an older server does not understand is put in its own words; only before the dump enters the database.
version=$(psql -X -A -t -d template1 -c 'show server_version_num')
words=''
[ "$version" -ge 150000 ] || words="s/ LOCALE_PROVIDER = libc//;"
[ "$version" -ge 130000 ] || words="$words s/ LOCALE = \('[^']*'\)/ LC_COLLATE = \1 LC_CTYPE = \1/;"

failed=0 left=''
for dump in "${dumps[@]}"; do
  database=${dump#backup/}
  database=${database%.sql}
  echo "restores $database"
  if [ "$database" != template1 ]; then
    # A database that cannot go is left as it is: a dump poured over it would double its rows.
    if ! psql -X -q -v ON_ERROR_STOP=1 -v database="$database" -d template1 \
      <<<'drop database if exists :"database";'; then
      left="$left $database"
      continue
    fi
  fi
  sed "1,/^\\\\connect/{$words}" "$dump" |
    psql -X -q -v VERBOSITY=verbose -d template1 >/dev/null 2>errors || { cat errors >&2; exit 1; }
  cat errors >&2
  # Let pass: what belongs to Amazon and to no user (42501), and a database that was not to go (42P04).
  wrong=$(grep 'ERROR:  ' errors | grep -c -v -E 'ERROR:  (42501|42P04):' || true)
  failed=$((failed + wrong))
done
if [ "$failed" -gt 0 ]; then
  echo "$failed statements of the dump failed, see above; all others were carried out" >&2
fi
if [ -n "$left" ]; then
  echo "left as they were, since they cannot be dropped:$left; are they in use, or another's?" >&2
fi
[ "$failed" -eq 0 ] && [ -z "$left" ]
