#!/usr/bin/env bash
# Perl's built-ins: workers that count under a semaphore and exit holding it (SEM_UNDO gives it back), and a queue read by type.
set -eu
perl -MIPC::SysV -e 1 2>/dev/null || { echo "no perl with IPC::SysV"; exit 77; }
out=$($RUN perl -e '
use strict; use IPC::SysV qw(:all); my ($w,$n)=(4,1000);
my $s=semget(IPC_PRIVATE,1,0600)//die "semget $!"; semctl($s,0,SETVAL,1)||die; my $m=shmget(IPC_PRIVATE,8,0600)//die "shmget $!"; shmwrite($m,pack("Q",0),0,8)||die;
my $q=msgget(IPC_PRIVATE,0600)//die "msgget $!";
for my $c (1..$w) { next if fork; for (1..$n) { semop($s,pack("s3",0,-1,SEM_UNDO))||die; my $b; shmread($m,$b,0,8)||die; shmwrite($m,pack("Q",1+unpack "Q",$b),0,8)||die; semop($s,pack("s3",0,1,SEM_UNDO))||die unless $_==$n; }
  msgsnd($q,pack("q a*",5-$c,"w$c"),0)||die; exit 0 }
1 while wait>0; my $b; shmread($m,$b,0,8); print unpack("Q",$b)," ",semctl($s,0,GETVAL,0),"\n";
for (1..$w) { msgrcv($q,$b,10,-9,0)//die; print join(" ",unpack("q a*",$b)),"\n"; }
semctl($s,0,IPC_RMID,0); shmctl($m,IPC_RMID,0); msgctl($q,IPC_RMID,0);' 2>&1)
want='4000 1
1 w4
2 w3
3 w2
4 w1'
[ "$out" = "$want" ] || { printf 'got:\n%s\nwant:\n%s\n' "$out" "$want"; exit 1; }
