#!/bin/bash
# `deploy/hdfs.sh namenode` and `deploy/hdfs.sh datanode` run a node of HDFS, which the files in
# HADOOP_CONF_DIR configure. An empty NameNode is formatted first.
# `deploy/hdfs.sh dfs -ls /`, `-cp`, … does what `hdfs dfs` does; the image lacks that program.
set -euo pipefail
classpath=$(python -c 'from promo_assets.jvm.jars import hdfs_classpath; print(hdfs_classpath())')
java=(java -Xmx512m -Dlog4j2.level=WARN -cp "$HADOOP_CONF_DIR:$classpath")
case ${1-} in
namenode)
    if [ ! -e "$HDFS_FOLDER/name/current/VERSION" ]; then
        "${java[@]}" org.apache.hadoop.hdfs.server.namenode.NameNode -format -nonInteractive
    fi
    exec "${java[@]}" org.apache.hadoop.hdfs.server.namenode.NameNode
    ;;
datanode) exec "${java[@]}" org.apache.hadoop.hdfs.server.datanode.DataNode ;;
dfs) exec "${java[@]}" org.apache.hadoop.fs.FsShell "${@:2}" ;;
*)
    echo "hdfs.sh: expected namenode, datanode or dfs, got '${1-}'" >&2
    exit 2
    ;;
esac
