# Dumps the databases that are named, or all, and stores them as one tar.gz.
profile=$1 path=$2
shift 2
login=/var/run/cistern/profile
PGUSER=$(cat "$login/username")
PGPASSWORD=$(cat "$login/password")
export PGUSER PGPASSWORD

databases=("$@")
if [ "${#databases[@]}" -eq 0 ]; then
  # Templates hold nothing of anybody's, and rdsadmin is Amazon's own.
  found=$(psql -X -A -t -d postgres -c \
    "select datname from pg_database where not datistemplate and datname <> 'rdsadmin' order by datname")
  mapfile -t databases <<<"$found"
fi
cd /backup
mkdir -p backup
for database in "${databases[@]}"; do
  case $database in
  '' | */*) echo "the name '$database' cannot be that of a file" >&2; exit 1 ;;
  esac
  echo "dumps $database"
  # By a variable: as an argument a name with an equals sign would be more than a name.
  PGDATABASE=$database pg_dump --create --file "backup/$database.sql"
done
tar -czf - backup | kando location push --profile "$profile" --path "$path" -
