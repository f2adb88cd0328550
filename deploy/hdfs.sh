#!/bin/bash
# `deploy/hdfs.sh namenode` or `datanode`: a node of HDFS, configured by the files in HADOOP_CONF_DIR. An empty NameNode is formatted first.
# `deploy/hdfs.sh dfs -ls /`, `-cp`, …: what Hadoop's own program `hdfs dfs` does, which the image has not.
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
    echo "hdfs.sh: namenode, datanode or dfs is needed" >&2
    exit 2
    ;;
esac
